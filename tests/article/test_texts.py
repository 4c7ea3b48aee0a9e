"""The two further fables; and that docs/lesson.md quotes lesson.py, and its numbers are what that computes."""

import re
from pathlib import Path

import pytest
import torch

from fabula import lesson
from fabula.article.material import bundled, fable
from fabula.lesson import SGD, Network

GERMAN, CHINESE = "belling_the_cat.de.txt", "belling_the_cat.zh.txt"
ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("lesson.md", "lesson.zh.md")


def document(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def quoted(name: str) -> list[str]:
    """The python blocks of a document."""
    return re.findall(r"```python\n(.*?)```", document(name), re.DOTALL)


@pytest.mark.parametrize(("name", "least", "most"), [(GERMAN, 190, 230), (CHINESE, 250, 330)])
def test_a_fable_of_the_articles_size_that_can_be_learned_by_heart(name: str, least: int, most: int) -> None:
    text = bundled(name)
    assert least <= len(text.symbols) <= most
    assert not text.is_fable
    ceilings = {row["window"]: row["share"] for row in text.ceilings(range(1, 8))}
    assert len(ceilings) == 7
    assert ceilings[1] < 0.75  # one symbol does not tell the next
    assert min(ceilings[6], ceilings[7]) >= 0.97


def test_german_is_laid_out_as_the_article_has_it() -> None:
    text = bundled(GERMAN)
    assert text.spaced
    for symbol in text.symbols:
        assert symbol in set(",.:;!?") or (symbol.isalpha() and symbol == symbol.lower()), symbol
    assert text.prompts(3)[1] == "mäuse mäuse mäuse"


def test_chinese_is_a_symbol_a_character() -> None:
    text = bundled(CHINESE)
    assert not text.spaced
    assert {len(symbol) for symbol in text.symbols} == {1}
    for symbol in text.symbols:
        assert symbol in set("\uff0c\u3002\uff1a\uff01\uff1f\u201c\u201d") or "\u4e00" <= symbol <= "\u9fff", symbol
    assert text.text(text.symbols).count("\u201c") == text.text(text.symbols).count("\u201d")
    assert text.prompts(3) == ["老鼠们", "鼠鼠鼠"]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_quoted_code_is_in_the_file_in_this_order(name: str) -> None:
    source = [line.strip() for line in Path(lesson.__file__).read_text(encoding="utf-8").splitlines()]
    blocks = quoted(name)
    assert len(blocks) > 15
    for block in blocks:
        left = iter(source)
        for line in block.splitlines():
            assert line.strip() in left, line


def test_both_languages_quote_the_same() -> None:
    assert quoted(DOCUMENTS[0]) == quoted(DOCUMENTS[1])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_ceilings_of_the_fable(name: str) -> None:
    shares = [f"{100 * row['share']:.1f}" for row in fable().ceilings(range(1, 7))]
    assert f"| {' | '.join(shares)} |".replace("100.0", "100") in document(name)


def row(*cells: object) -> str:
    return f"| {' | '.join(f'{c:.3f}' if isinstance(c, float) else str(c) for c in cells)} |"


def listed(values: torch.Tensor) -> str:
    return ", ".join(f"{value:.3f}".replace("-0.000", "0.000") for value in values.flatten().tolist())


def pencil() -> dict[str, str]:
    """The worked example of the documents, each part as it is printed there."""
    net = Network(3, SGD(0.5), torch.Generator().manual_seed(0), hidden=1)
    kernel, out, (layer,) = net.layers[0].kernel.value, net.out.value, net.layers
    kernel.copy_(torch.tensor([[0.5, 0, 0.5, 0.5], [0, 0.5, 0, 1], [0, 1, 0, 0]]))
    out.copy_(torch.tensor([[1.0, 0, -1], [0, 0, 0]]))
    ids, target = torch.tensor([1, 2]), torch.tensor([0])
    reading = net.forward(ids)
    first, second = reading.moments[0]
    assert first.before is None
    said = (torch.zeros(1), first.hidden)
    z = [x * kernel[0] + h * kernel[1] + kernel[2] for x, h in zip((1.0, 2.0), said, strict=True)]
    forward = [
        row(t, t, *z[t - 1].tolist(), *(float(part) for part in (m.input, m.forget, m.output, m.candidate)),
            *(float(part) for part in (m.cell, m.squashed, m.hidden)))
        for t, m in enumerate((first, second), 1)
    ]  # fmt: skip
    p = reading.scores.softmax(-1)
    dy = p - torch.eye(3)[target]
    dh2 = dy @ out[:-1].t()
    dz = layer.backward([first, second], [None, dh2[0]])
    dh1 = torch.mv(layer.from_last, dz[1])
    dc2 = dh2[0] * second.output * (1 - second.squashed**2)
    down1, kept = dh1 * first.output * (1 - first.squashed**2), dc2 * second.forget
    backward = [
        row(2, float(dh2), float(dc2), *dz[1].tolist()),
        row(1, float(dh1), float(down1 + kept), *dz[0].tolist()),
    ]
    for m, z_, dc, dz_ in ((first, z[0], down1 + kept, dz[0]), (second, z[1], dc2, dz[1])):  # what is printed fits
        torch.testing.assert_close(torch.cat((m.input, m.forget, m.output)), z_[:3].sigmoid())
        torch.testing.assert_close(dz_[3:], dc * m.input * (1 - m.candidate**2))
    old = kernel.clone()
    with torch.inference_mode():
        losses = [float(net.learn(ids, target)[0])]
        gradient = (old - kernel) / 0.5
        losses.append(float(net.learn(ids, target)[0]))
    return {
        "FORWARD": "\n".join(forward),
        "BACKWARD": "\n".join(backward),
        "GRADIENT": "\n".join(row(name, *line) for name, line in zip("URb", gradient.tolist(), strict=True)),
        "Y": listed(reading.scores), "P": listed(p), "P0": f"{float(p[0, 0]):.3f}", "DY": listed(dy), "DH": listed(dh2),
        "DF2": f"({float(dz[1, 1]):.3f})", "DG2": f"({float(dz[1, 3]):.3f})",
        "DOWN1": f"{float(down1):.3f}", "KEPT": f"{float(kept):.3f}",
        "L": f"{losses[0]:.3f}", "L2": f"{losses[1]:.3f}",
    }  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_number_of_the_worked_example(name: str) -> None:
    text = document(name)
    for part, printed in pencil().items():
        assert printed.replace("-0.000", "0.000") in text, part
