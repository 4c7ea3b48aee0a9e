"""The words of the help pages, apart from the commands so that showing them loads nothing."""

from __future__ import annotations

SUMMARY = "Train a small LSTM on your own stories and let it write new ones."

EPILOGUE = """\
A first story:

    fabula train my-stories.txt
    fabula write my-stories-model -p "Once upon a time"

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 diverged,
75 pre-empted and 130 interrupted (saved: --resume goes on)."""

COMMANDS = {
    "train": """\
Learn from your texts and write a model folder.

    fabula train my-stories.txt
    fabula train tales/ more.epub -o tales-model --time 10m
    fabula train fable.txt --unit symbols --window 3
    fabula train tales/ -o tales-model --both-ways
    fabula train --resume tales-model
    fabula train poems.txt --from tales-model -o poems-model
    fabula train library/ --processes 8 --time 3h""",
    "write": """\
Write a story with a model, word by word as you watch.

    fabula write tales-model -p "Once upon a time" --words 300
    fabula write fable-model -p "mouse mouse mouse" --temperature 0
    fabula write tales-model -n 3 --until sentence --json
    fabula write tales-model --max-copy 8 --ban wolf --require snow
    fabula write tales-model -p "The fox" --best-of 50
    fabula write tales-model -p "Once" --end "And they never spoke again."
    fabula write tales-model:0.7 fables-model:0.3 --words 300
    fabula write tales-model --book 50000""",
    "chat": """\
Write a story with a model, you and it in turns, on a screen of its own.

    fabula chat tales-model
    fabula chat tales-model --table my-story.json
    fabula chat tales-model > story.txt
    echo "The fox said" | fabula chat tales-model --plain""",
    "serve": """\
Write with models in a browser, let them learn there, and serve them over HTTP as OpenAI does.

    fabula serve tales-model
    fabula serve
    fabula serve tales-model fables-model --port 0
    fabula serve tales-model --workers 4 --key-file fabula.key
    FABULA_API_KEY=... fabula serve tales-model --host 0.0.0.0""",
    "novelty": """\
Show what a story has copied, from where, and how that compares with what people copy.

    fabula novelty story.txt --source my-stories/
    fabula write tales-model | fabula novelty - --source tales.txt --html novelty.html""",
    "verify": """\
Write a labelled story again and say whether it is the same, bit for bit.

    fabula write tales-model -p "Once" --label > story.md
    fabula verify story.md""",
    "evaluate": """\
Measure how well a model foresees a text.

    fabula evaluate tales-model kept-aside.txt
    fabula evaluate tales-model kept-aside.txt --json""",
    "report": """\
Write the page of a training anew: curves, the stories told on the way, what was chosen and why.

    fabula report tales-model
    fabula report tales-model --lang zh -o tales.html""",
    "inspect": """\
Look at texts before learning from them: encoding, language, stories, copies, what to hope for.

    fabula inspect my-stories/
    fabula inspect tales.txt --json""",
    "store": """\
Write texts of any size into a folder that training reads without loading it.

    fabula store library/ -o library-store
    fabula store tales.parquet more.jsonl.gz -o tales-store --unit words
    fabula store hf:roneneldan/TinyStories -o tiny-store
    fabula store library-store --verify
    fabula train library-store -o library-model""",
    "lesson": """\
The article LSTM by Example, runnable: its experiment, its stories, its tips, and a page that shows them.

    fabula lesson
    fabula lesson --layers 2 --seed 7
    fabula lesson --text my.txt --window 4 --iterations 20000
    fabula lesson --tip window --seeds 3
    fabula lesson --tip optimizer --lang zh""",
    "doctor": """\
Say what is installed, what this machine can do, and what is missing.

    fabula doctor
    fabula doctor --json""",
}
"""Name and page of every command, in the order in which one meets them."""
