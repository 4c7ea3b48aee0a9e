"""What can go wrong for a user, as one small tree; this file knows nothing of where the errors come from.

    FabulaError                 exit 1   something failed that the user can read about in one line
    ├── UsageError              exit 2   a setting or an option that cannot be
    ├── InputError              exit 2   what the user gave us to read
    │   ├── TextError                    a missing, empty, binary or undecodable text
    │   ├── UnknownSymbolError           a word the `symbols` unit has never met
    │   ├── VectorsError                 a file of word vectors that cannot be used
    │   ├── TableError                   a file of the writing table that is damaged, or of another model
    │   └── FolderError                  not a model folder, a damaged one, or one that is in the way
    ├── SavingError             exit 1   a disk that refuses what had to be written
    ├── ProcessError            exit 1   several processes that learn together differ, or one does not come
    │   └── LostProcessError             one of them has ended, or does not answer
    ├── MissingExtraError       exit 2   an optional part that is not installed
    └── DivergedError           exit 3   the training ran into NaN or infinity

Every message is one line: what was expected, what came, what to do next.
"""


class FabulaError(Exception):
    """Base of all errors meant for a user's eyes; `exit_code` is what the command returns."""

    exit_code = 1


class UsageError(FabulaError):
    """A setting or an option has a value it must not have."""

    exit_code = 2


class InputError(FabulaError):
    """Something the user gave us to read cannot be used."""

    exit_code = 2


class TextError(InputError):
    """A text is missing, empty, binary, or in an encoding that cannot be told."""


class UnknownSymbolError(InputError):
    """A prompt or text holds a word that the `symbols` vocabulary does not have."""


class VectorsError(InputError):
    """A file of word vectors is damaged, empty, or of another width than asked for."""


class TableError(InputError):
    """A file of the writing table is damaged, of another model, or cannot be saved."""


class FolderError(InputError):
    """A folder is no model folder, is damaged, or stands where a new one should go."""


class SavingError(FabulaError):
    """What had to be written could not be: a full disk, one that is read-only, or broken."""


class ProcessError(FabulaError):
    """One of several processes that learn together is gone, does not come, or is not like the others."""


class LostProcessError(ProcessError):
    """Another process is gone or does not answer: all may be started again."""


class MissingExtraError(FabulaError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an optional part that is not installed: pip install 'fabula[{extra}]'")


class DivergedError(FabulaError):
    """The loss became NaN or infinite; the last good model is kept."""

    exit_code = 3
