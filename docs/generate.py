"""Writes the pages that say what the program and the benchmarks say; `--check` fails when one is out of date.

docs/commands.md, docs/settings.md and the keys in docs/chat.md come from the program, docs/figures.md and the tables of
both READMEs from benchmarks/results.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import sys
from pathlib import Path
from typing import Any

from fabula.cli import page
from fabula.cli.keys import help_page
from fabula.cli.pages import COMMANDS as PAGES
from fabula.cli.plain import HELP
from fabula.config import SECTIONS, SIZES

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = ROOT / "benchmarks" / "results"
COMMANDS = ("", *PAGES)


def commands() -> str:
    """The help page of every command."""
    os.environ["COLUMNS"] = "112"  # argparse leaves two of them free
    head = "# Commands\n\nEach page as `--help` shows it. This file is generated: `make fix` writes it anew.\n"
    pages = (f"## fabula {command}".rstrip() + f"\n\n```text\n{page(command).strip()}\n```\n" for command in COMMANDS)
    return "\n".join((head, *pages))


def settings() -> str:
    """Every setting with its default and its meaning."""
    parts = [
        "# Settings\n\nEach can be given as `--set SECTION.NAME=VALUE`, as the environment variable "
        "`FABULA_SECTION_NAME`, or in a TOML file for `--config`.\nPrecedence: flag, `--set`, environment, file, the "
        "model's own, default. A default of `-` is chosen by the text at hand.\nThis file is generated: `make fix` "
        "writes it anew.\n"
    ]
    for name, section in SECTIONS.items():
        parts.append(f"## {name}\n\n{section.__doc__}\n\n| name | default | meaning |\n|---|---|---|")
        for field in dataclasses.fields(section):
            default = "-" if field.default is None else f"`{str(field.default).lower()}`"
            choices = field.metadata["choices"]
            meaning = field.metadata["about"] + (f": {', '.join(choices)}" if choices else "")
            parts.append(f"| `{field.name}` | {default} | {meaning} |")
        parts.append("")
    parts.append("## --size\n\n| size | layers | units |\n|---|---|---|")
    parts += [f"| {size} | {shape['layers']} | {shape['hidden']} |" for size, shape in SIZES.items()]
    return "\n".join(parts) + "\n"


def result(question: str) -> dict[str, Any]:
    """One file of benchmarks/results."""
    return json.loads((RESULTS / f"{question}.json").read_text(encoding="utf-8"))


def conditions(question: str) -> str:
    """Command, machine and versions of a result, as one sentence."""
    record = result(question)
    machine, versions = record["machine"], record["versions"]
    used = ", ".join(f"{name} {versions[name]}" for name in ("python", "torch", "onnxruntime"))
    return f"`{record['command']}`, {record['date']}, {machine['processor']}, {machine['cores']} cores, {used}."


def fable_rows() -> str:
    """Fable: accuracy, seconds, and the multiple of a bare import."""
    rows = []
    for way, row in result("fable")["figures"].items():
        accuracy = " to ".join(
            f"{share:.1%}" for share in sorted({min(row["train_accuracy"]), max(row["train_accuracy"])})
        )
        rows.append(f"| {way} | {accuracy} | {row['seconds']:.2f} s | {row['times_import_torch']:.2f} |")
    return "\n".join(rows)


def quality_table(time: str) -> str:
    """Held-out figures of every text learned for that long."""
    head = "text | unit | steps | epochs | bits per byte | foretold | nats per character | n-gram | mixed"
    figures = result(f"quality-{time}")["figures"]
    peers = list(dict.fromkeys(name for row in figures.values() for name in row.get("peers", ())))
    rows = [" | ".join([head, *peers, "process"]), " | ".join(["---"] * (len(head.split("|")) + len(peers) + 1))]
    for text, row in figures.items():
        low, _, high = row["forecast"] or (math.nan,) * 3
        bits = row.get("peers_bits_per_byte", {})
        own = [f"{bits[name]:.3f}" if name in bits else "" for name in peers]
        ngram = "" if row["kneser_ney"] is None else f"{row['kneser_ney']:.3f} | {row['mixed with kneser_ney']:.3f}"
        told = [
            f"{text} | {row['unit']} | {row['steps']:,} | {row['epochs']:.1f} | {row['bits_per_byte']:.3f}",
            f"{low:.2f} to {high:.2f} | {row['nats_per_char']:.3f} | {ngram or ' | '}", *own, f"{row['seconds']:.0f} s",
        ]  # fmt: skip
        rows.append(" | ".join(told))
    table = "\n".join(f"| {row} |" for row in rows)
    if "test perplexity as published" not in (wiki := figures.get("wikitext2", {})):
        return table
    told = f"{wiki['test perplexity as published']:.1f}"
    if "peers" in wiki:
        told += f", the word model's {wiki['peers']['word_language_model']['test']['perplexity']:.1f}"
    return f"{table}\n\nWikiText-2's test text as published, perplexity of its 245,569 words and line ends: {told}."


def places(time: str) -> str:
    """Which text was learned on which processor, where the results are of several."""
    texts: dict[str, list[str]] = {}
    for text, row in result(f"quality-{time}")["figures"].items():
        texts.setdefault(row.get("processor", ""), []).append(text)
    told = "; ".join(f"{', '.join(names)} on {name}" for name, names in texts.items())
    return f"\n\nNot all on that machine: {told}." if len(texts) > 1 else ""


def best_peer(row: dict[str, Any]) -> str:
    """What the best of the peers needs, and which it is."""
    if "best peer" not in row:
        return ""
    return f"{row['peers_bits_per_byte'][row['best peer']]:.3f} {row['best peer']}"


def quality_sections() -> str:
    """A table for each time that was measured."""
    times = sorted((int(path.stem[8:-1]) for path in RESULTS.glob("quality-*s.json")), key=int)
    return "\n\n".join(
        f"### {time} seconds\n\n{quality_table(f'{time}s')}\n\n{conditions(f'quality-{time}s')}{places(f'{time}s')}"
        for time in times
    )


def foretold() -> str:
    """How the forecast did in runs that were no part of the fit; nothing where there are none."""
    if not (RESULTS / "foretold-60s.json").exists():
        return ""
    figures = result("foretold-60s")["figures"]
    missed = [
        f"{text} (foretold {low:.2f} to {high:.2f}, came to {row['bits_per_byte']:.2f})"
        for text, row in figures.items()
        for low, _, high in [row["forecast"]]
        if not low <= row["bits_per_byte"] <= high
    ]
    inside = len(figures) - len(missed)
    return f"""
The forecast, in new runs of a minute of the texts that its numbers were fitted to: inside its interval on {inside} of
{len(figures)} texts (the aim: all, 4 the least). Missed: {", ".join(missed) or "none"}.

{conditions("foretold-60s")}
"""


def encoding_rows() -> str:
    """Guessed encodings of every text."""
    return "\n".join(
        f"| {text} | {row['pieces']} | {row['fabula']} | {row['charset-normalizer']} |"
        for text, row in result("encodings")["figures"].items()
    )


def vocabulary_section() -> str:
    """Speed and memory of every output layer at every size; nothing where it was not measured."""
    if not (RESULTS / "vocabulary.json").exists():
        return ""
    rows = "\n".join(
        f"| {row['vocabulary']:,} | {row['head']} | {row['words/s']:,} | {row['speed over tied at 10,000']:.2f} "
        f"| {row[f'speed over {head} at 10,000']:.2f} | {row['MB of parameters and their averages']:,} "
        f"| {row['MB at most, beyond the program']:,} |"
        for row in result("vocabulary")["figures"]
        for head in [row["head"] if row["head"] != "full" else "tied"]
    )
    return f"""## Vocabularies

Whole steps over random words by Zipf's law, 64 lanes x 32, 512 units, vectors of 256; megabytes of the parameters with
their averages, and at most beyond the program.

| units | output | words/s | over tied at 10,000 | over itself at 10,000 | MB kept | MB at most |
|---|---|---|---|---|---|---|
{rows}

{conditions("vocabulary")}

The aim at 170,000 units is 0.7 of the speed at 10,000.

"""


def speed_section() -> str:
    """The LSTM layer beside a product of matrices and its peers; whole steps beside the word model's; or nothing."""
    measured = [question for question in ("speed", "speed-amx") if (RESULTS / f"{question}.json").exists()]
    if not measured:
        return ""
    tables = "\n\n".join(f"{speed_tables(question)}\n\n{conditions(question)}" for question in measured)
    return f"""## Speed

One LSTM layer, inputs 256 wide and 512 units, forth and back; a product of two matrices 2048 x 2048 in the same
process.

{tables}

The aim was 0.65 of the product in bf16, 0.5 the least that is acceptable; 15 times the word model's words, 8 the least.
With AMX, whose product is half as fast again while the layer's small steps are not, both are missed.

"""


def speed_tables(question: str) -> str:
    """What one machine gave."""
    parts = []
    for name, table in (figures := result(question)["figures"]).items():
        if not name.startswith("layer"):
            continue
        rows = [
            f"| {who} | {row['GFLOP/s']:.0f} | {row['of the product in bf16']:.2f} "
            f"| {row.get('fabula bf16 over it', '')} | {row.get('version', '')} |"
            for who, row in table.items()
        ]
        head = "| who | GFLOP/s | of the product in bf16 | fabula in bf16 over it | version |\n|---|---|---|---|---|"
        parts.append("\n".join([f"A {name}:", "", head, *rows]))
    if words := figures.get("WikiText-2 words"):
        parts.append(
            f"WikiText-2 in words, {words['pairs']} trainings of {words['seconds of each']} s each: "
            f"{words['fabula words/s']:,.0f} words/s, the word model {words['word_language_model words/s']:,.0f}: "
            f"{words['times faster']:.1f} times as fast."
        )
    return "\n\n".join(parts)


def writing_section() -> str:
    """The engine beside its peers, and what stories cost; nothing where it was not measured."""
    if not all((RESULTS / f"{question}.json").exists() for question in ("writing", "storytelling")):
        return ""
    machines = {
        "writing": "",
        "writing-avx512": "One that has AVX-512 and was disturbed less, before the last changes:\n\n",
        "writing-quick": "Another such, with a quicker memory, before them and those before:\n\n",
        "writing-amx": "One with AMX, as the last:\n\n",
    }
    tables = "\n\n".join(
        f"{said}{writing_table(question)}\n\n{conditions(question)}"
        for question, said in machines.items()
        if (RESULTS / f"{question}.json").exists()
    )
    told = result("storytelling")["figures"]
    long, sizes, together = told["words in a row"], told["installed, megabytes"], told["together"]
    largest = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items() if name != "all")
    return f"""## Writing

One layer of 512 units, vectors of 256, 10,000 units, tied, random weights; tokens a second, each way in a process of
its own, all in turn, medians. onnxruntime's own int8 scales over all stories at once, so a story hangs on its
neighbours; fabula's does not.

{tables}

The aims over `nn.LSTM` were 12 times (fp32) and 45 (int8), 8 and 30 the least that is acceptable: in fp32 reached on
the second of these machines and missed on the others, in int8 missed on all. They were set where `nn.LSTM` made 229 to
325 tokens a second, as it does on the second. `nn.LSTM` is bound by its own work, fabula by the memory that it shares
with its neighbours: the more these take, or the quicker `nn.LSTM` is, the smaller the ratio. The other aims: 0.9 of
the product, 0.7 the least; 64 stories in int8 3 times as fast as one, 1.6 the least.

A model of the text tales, trained for a minute:

* {together["compared"]:,} times a story was told alone and in a batch of 2, 7 or 64, fp32 and int8: different
  {together["different"]} times.
* `--max-copy 8` writes at {told["guard"]["guarded, of that"]:.3f} of the speed without, the two taking turns (the least
  that is acceptable: 0.95).
* {long["words"]:,} words in a row, {long["texts"]} texts: the first 49 fiftieths take
  {long["seconds for all but the last fiftieth"]:.0f} s; the last takes {long["the last fiftieth over the first"]:.3f}
  times as long as the first of another text, told in turn with it (medians; the most: 1.05, the aim 1.00); memory grows
  by {long["megabytes grown"]:.1f} MB (the most: 5, the aim 0).
* The index of a million words: {told["index"]["megabytes"]:.0f} MB, made in {told["index"]["seconds"]:.1f} s (the most:
  16 MB).
* All that `pip install fabula` brings, without PyTorch: {sizes["all"]:.0f} MB ({largest}); the aim was 180, the most
  250.

{conditions("storytelling")}

"""


def writing_table(question: str) -> str:
    """What one machine gave."""
    figures = result(question)["figures"]
    speeds, many = figures["tokens/s"], figures["64 stories over one"]
    rows = []
    for way in ("fp32", "int8"):
        over = figures[f"{way} over"]
        rows.append(
            f"| fabula, {way} | {speeds[way]:,} | {over['nn.LSTM']:.1f} | {over['lstm_cell']:.1f} "
            f"| {over['plain int8']:.1f} | {speeds[f'{way}, 64 stories']:,} | {many[way]:.1f} |"
        )
    rows.append(
        f"| onnxruntime, int8 by `quantize_dynamic` | {speeds['plain int8']:,} | | | "
        f"| {speeds['plain int8, 64 stories']:,} | {many['plain int8']:.1f} |"
    )
    rows += [f"| PyTorch, {way} | {speeds[way]:,} | | | | | |" for way in ("nn.LSTM", "lstm_cell")]
    bound = (
        f" A vector times as many numbers in fp32 as a step reads is had {once:,} times a second; fp32 tells "
        f"{figures['fp32, of the weights once']:.2f} of that."
        if (once := figures.get("weights once, times/s"))
        else ""
    )
    if whole := figures.get("int8 weights once, times/s"):
        bound += f" In int8 {whole:,} times; int8 tells {figures['int8, of the weights once']:.2f} of that."
    return "\n".join(
        [
            "| way | one story | over `nn.LSTM` | over `lstm_cell` | over onnxruntime's int8 | 64 stories | over one |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
            f"64 stories in fp32 reach {figures['fp32, 64 stories, of the product']:.2f} of the rate of a product of "
            f"two matrices 1024 x 1024.{bound}",
        ]
    )


def store_section() -> str:
    """What a store costs; nothing where it was not measured."""
    if not (RESULTS / "store.json").exists():
        return ""
    figures = result("store")["figures"]
    batch, read, stopped = figures["batch, milliseconds"], figures["reading, megabytes"], figures["stopped"]
    cpu = figures["CPU seconds in all"]
    rows = "\n".join(
        f"| {head} | {row['steps']:,} | {row['megabytes in its middle']:,} | {row['megabytes towards its end']:,} "
        f"| {row['grown']:+.1%} |"
        for head, row in figures["learning"].items()
    )
    seconds = next(iter(figures["learning"].values()))["seconds"]
    return f"""## Large libraries

`fabula store` of {figures["megabytes of text"]:,} MB of made-up tales (170,000 words by Zipf's law), {figures["unit"]}.

* The vocabulary in {figures["vocabulary, seconds"]:.0f} s, then {figures["MB/s"]:.1f} MB of text a second into
  {figures["shards"]} shards of {figures["stored, megabytes"]:,} MB in all, while others used the machine too; {cpu:.0f}
  seconds of processor time in all, {figures["megabytes of text"] / cpu:.1f} MB for each.
* {figures["most megabytes of all processes"]:,} MB of memory at most, all processes together, while the vocabulary is
  learned; {figures["most megabytes while storing"]:,} MB while storing.
* Stopped after {stopped["shards done"]} shards the same command went on, and came to
  {"the same bytes" if stopped["the same bytes"] else "OTHER BYTES"}. `--verify` takes
  {figures["verified, seconds"]:.1f} s.
* A batch of 32 x 32 takes {batch["32 x 32"]:.2f} ms, one of 256 x 32 {batch["256 x 32"]:.2f} ms.
* A process that only reads batches has {", ".join(f"{read[step]} MB after {int(step):,}" for step in read)}.

Learning from the store for {seconds} s, megabytes of the whole process in its middle and towards its end:

| output | steps | in its middle | towards its end | grown |
|---|---|---|---|---|
{rows}

The store does not grow; with adaptive outputs, whose products have another size in every step, PyTorch's own memory
does for some minutes, from a text in memory as well.

{conditions("store")}

The aims were 20 MB a second, 8 the least that is acceptable; 300 MB, 600 the most; 5 % the most that memory may grow.

"""


def scaling_section() -> str:
    """Several processes beside one, and what to expect of many; nothing where it was not measured."""
    if not (RESULTS / "scaling.json").exists():
        return ""
    figures = result("scaling")["figures"]
    speeds = "\n".join(
        f"| {'bf16, where the processor has it' if form == 'auto' else form} | {row['one process']:,.0f} "
        f"| {row['2 processes']:,.0f} | {row['ratio']:.2f} | {', '.join(f'{one:.2f}' for one in row['ratios'])} |"
        for form, row in figures["words/s"].items()
    )
    apart = "\n".join(
        f"| {name} | {f'{value:.1e}' if value else 'none in five decimals'} |"
        for name, value in figures["curves"]["largest difference from one process"].items()
    )
    same = "; ".join(f"{name}: {'yes' if held else 'no'}" for name, held in figures["curves"]["the same bits"].items())
    sent = ", ".join(f"{size} in {row['milliseconds']:.1f} ms" for size, row in figures["sending"].items())
    return f"""## Many processes

`fabula train --processes 2`, one thread each, beside one process of one thread; WikiText-2 in words, 64 lanes a
process.

| products | one process, units/s | two | ratio, median | of each pair |
|---|---|---|---|---|
{speeds}

The same lanes in all, fp32, dropout 0.2, Tiny Shakespeare; largest difference of a training loss or held-out figure
from one process, over {figures["curves"]["measurements"]} measurements:

| processes | difference |
|---|---|
{apart}

The same bits: {same}.

The mean of gradients over two processes of this machine: {sent}.

{conditions("scaling")}

The aim was 1.9 times the speed, 1.7 the least that is acceptable; equal bits, a difference of 1e-4 the most.

{expectation_section()}"""


def expectation_section() -> str:
    """What arithmetic says of many processes; nothing where it was not computed."""
    if not (RESULTS / "expectation.json").exists():
        return ""
    figures = result("expectation")["figures"]
    rows = "\n".join(
        f"| {row['network']} | {row['place']} | {row['processes']} | {row['MB sent a step']:.0f} "
        f"| {row['ms sending']:.1f} | {row['units/s']:,} | {row['of the ideal']:.2f} | {row['hours']:,.1f} "
        f"| {row['GB a process']:.1f} |"
        for row in figures["rows"]
    )
    here = figures["rows"][1]["of the ideal"]
    return f"""What to expect of many, by arithmetic (benchmarks/expectation.py says how): a network of 512 units reads
100 million units, larger ones 10 billion. What is called assumed was not measured, and no GPU was. For the two
processes here it says {here:.2f} of the ideal; measured were {figures["measured ratio of 2 processes"] / 2:.2f}.

| network | place | processes | MB a step | ms sending | units/s | of the ideal | hours | GB each |
|---|---|---|---|---|---|---|---|---|
{rows}

"""


def serving_section() -> str:
    """What serving costs; nothing where it was not measured."""
    if not (RESULTS / "serving.json").exists():
        return ""
    figures = result("serving")["figures"]
    start, streams, left = figures["start"], figures["64 streams"], figures["leaving"]
    crowds = [(name, row) for name, row in figures.items() if name.endswith(" clients")]
    rows = "\n".join(
        f"| {name} | {row['answers']:,} | {row['wrong texts']} | {row['5xx']} | {row['broken']} "
        f"| {row['first word, seconds']:.2f} s | {row['megabytes grown']:.1f} |"
        for name, row in crowds
    )
    return f"""## Serving

`fabula serve`, a model of {figures["parameters"]:,} random weights; clients and server share the machine.

* From the start to the address {start["address, seconds"]:.2f} s, to the first answer
  {start["first answer, seconds"]:.2f} s; {figures["memory, megabytes"]:.0f} MB in memory then.
* 64 streams: {streams["served, tokens/s"]:,} tokens/s, {streams["served over engine"]:.2f} of the bare engine's 64,
  {streams["served over storyteller"]:.2f} of `Storyteller.write_many`.
* {left["clients"]:,} clients that leave at any moment leave behind {left["left behind"]["running"]:.0f} stories,
  {left["left behind"]["tasks"]:.0f} tasks, {left["left behind"]["descriptors"]:.0f} open files; all is free
  {left["all free after, seconds"]:.2f} s after the last.
* {figures["made-up requests"]["cases"]:,} requests made up from the description by schemathesis.

| streaming clients | answers | wrong texts | 5xx | broken off | first word | MB grown |
|---|---|---|---|---|---|---|
{rows}

{conditions("serving")}

{workers_section()}"""


def workers_section() -> str:
    """What several readers cost and bring; nothing where it was not measured."""
    if not (RESULTS / "workers.json").exists():
        return ""
    figures = result("workers")["figures"]
    more = figures["one unit more"]
    rows = "\n".join(
        f"| {name.removesuffix(' workers')} | {row['address, seconds']:.2f} s | {row['first answer, seconds']:.2f} s "
        f"| {row['64 streams, tokens/s']:,} |"
        for name, row in figures.items()
        if name.endswith(" workers")
    )
    return f"""## Many readers

`fabula serve --workers`, a model of {figures["parameters"]:,} random weights; clients and servers share the machine.

| workers | start to address | to first answer | 64 streams, tokens/s |
|---|---|---|---|
{rows}

One unit more of a story of 10,000 units takes {1000 * more["from the text, seconds"]:.0f} ms from its text and
{1000 * more["from the state, seconds"]:.1f} ms from its state of {more["characters"]:,} characters.

{conditions("workers")}

"""


def studio_section() -> str:
    """What the page costs; nothing where it was not measured."""
    if not (RESULTS / "studio.json").exists():
        return ""
    figures = result("studio")["figures"]
    scripts, styles = figures["js, bytes gzip"] / 1000, figures["css, bytes gzip"] / 1000
    first, slowest = (1000 * figures[f"{name}, seconds"] for name in ("click to first word", "slowest of all clicks"))
    return f"""## The studio

The page in a Chromium before `fabula serve` on the same machine; {figures["parameters"]:,} random weights.

* {scripts:.0f} kB of script and {styles:.0f} kB of style, compressed.
* Ready to write {figures["page ready, seconds"]:.2f} s after the address.
* From a click on "Go on" to the first word on the screen {first:.0f} ms; the slowest of {figures["clicks"]} clicks
  {slowest:.0f} ms.

{conditions("studio")}

"""


def lesson_table(*, chinese: bool = False) -> str:
    """The article's accuracies beside ours, and the speed beside TensorFlow's."""
    reached, speed = result("lesson")["figures"], result("lesson_speed")["figures"]
    rows = []
    for layers, row in reached.items():
        said = ", ".join(f"{share:.1%}" for share in row["article"])
        name = layers.replace(" layers", " 层").replace(" layer", " 层") if chinese else layers
        rows.append(
            f"| {name} | {row['mean_accuracy']:.1%} ± {100 * row['deviation']:.1f} | {said} "
            f"| {speed[layers]['times_faster']:.1f} |"
        )
    head = (
        "| 50,000 步，五个种子 | 准确率 | 文章 | 是 TensorFlow 2.21 速度的几倍 |\n|---|---|---|---|"
        if chinese
        else "| 50,000 steps, 5 seeds | accuracy | the article | times as fast as TensorFlow 2.21 |\n|---|---|---|---|"
    )
    return "\n".join([head, *rows])


def figures() -> str:
    """What was measured, what it means, and what was missed."""
    speed = result("lesson_speed")["figures"]["1 layer"]
    lesson_pairs, lesson_steps = speed["pairs"], speed["steps"]
    first, quick = result("first_word")["figures"], result("first_word-quick")["figures"]
    pairs = result("fable")["figures"]["state carried"]["pairs"]
    sections = (
        speed_section,
        store_section,
        scaling_section,
        writing_section,
        serving_section,
        studio_section,
        vocabulary_section,
    )
    measured = "".join(section() for section in sections)
    return f"""# Figures

Two cores of a shared, noisy machine: trust ratios and medians. `make bench` measures all of it again. This file is
generated from `benchmarks/results`: `make fix` writes it anew.

## The fable, from nothing to a saved model

Whole processes in pairs with `python -c "import torch"`, median of {pairs} pairs with different seeds. Three words in:
199 of 201, which is the ceiling, because two places of the text cannot be told by three words. With the state carried
every place can.

| way | right | whole process | times `import torch` |
|---|---|---|---|
{fable_rows()}

{conditions("fable")}

The aim was 1.6 times; 2.0 is the most that is acceptable.

## The first word

From the start of `fabula write` to its first word, the saved fable model: median {first["median_seconds"]:.2f} s of
{first["runs"]} runs, at most {first["max_seconds"]:.2f} s. In turn with it `python -c "import torch"`, without which
what trained models before writes nothing: {first["import torch, seconds"]:.1f} s; the first word takes
{first["of import torch"]:.2f} of that.

{conditions("first_word")}

A quicker machine: {quick["median_seconds"]:.2f} s, at most {quick["max_seconds"]:.2f} s. The aim was 0.25 s and 0.4 the
most that is acceptable: reached there, missed on the first.

{conditions("first_word-quick")}

## The article's experiment

The network of the article by a backward pass written by hand, and the article's own graph on TensorFlow (compat.v1,
written anew) in the same run: medians of {lesson_pairs} pairs of {lesson_steps:,} steps. Accuracy is that of the last
1,000 of 50,000 steps, mean and deviation over five seeds.

{lesson_table()}

{conditions("lesson")} {conditions("lesson_speed")}

The aim was 4 times; 2 is the least that is acceptable.

## Learning for a given time

`fabula train TEXT --held-out KEPT --time TIME`, no other flag; figures by `fabula evaluate` on the kept text. Splits:
Tiny Shakespeare as nanoGPT splits it, the others by story. Bits per byte compare across units and languages.

{quality_sections()}

The n-gram model (Kneser-Ney, bits per byte) of the same units is fitted beside each training; mixed with it, each half
of the predictions is judged with the weight that fits the other. The peers learn from the same stories for as long, one
process after the other: the recipe of pytorch/examples word_language_model and a transformer over characters with
nanoGPT's settings for a CPU, both written anew.
The aim for Shakespeare in 180 s was 1.38 nats per character, 1.43 the most that is acceptable; for WikiText-2 in 600 s
a test perplexity of 130, 150 the most that is acceptable.
{foretold()}
{measured}## Guessed encodings

Pieces of 100, 400 and 4,000 characters of real texts, each in an old encoding; right is the same text as was encoded.
charset-normalizer runs with its defaults; it knows more encodings than fabula looks for.

| text | pieces | fabula | charset-normalizer |
|---|---|---|---|
{encoding_rows()}

{conditions("encodings")}
"""


def readme(name: str) -> str:
    """A README with its tables brought up to date."""
    chinese = name.endswith("zh.md")
    fable = (
        "| 寓言 | 背对 | 整个进程 | 是 `import torch` 的 |\n|---|---|---|---|"
        if chinese
        else "| the fable | right | whole process | times `import torch` |\n|---|---|---|---|"
    )
    quality = (
        "| 留出部分每字节比特 | 60 秒 | 最好的同类，60 秒 | 180 秒 | n-gram 模型 | 二者混合 | 每字符奈特 |"
        if chinese
        else "| held-out bits per byte | 60 s | best peer, 60 s | 180 s | n-gram | mixed | nats per character |"
    ) + "\n|---|---|---|---|---|---|---|"
    brief, long = (result(f"quality-{time}")["figures"] for time in ("60s", "180s"))
    rows = "\n".join(
        f"| {text} | {brief[text]['bits_per_byte']:.3f} | {best_peer(brief[text])} | {row['bits_per_byte']:.3f} "
        f"| {row['kneser_ney']:.3f} | {row['mixed with kneser_ney']:.3f} | {row['nats_per_char']:.3f} |"
        for text, row in long.items()
    )
    first = result("first_word")["figures"]
    word = (
        "首词：`fabula write` 启动后 {} 秒（同一机器上 `import torch` 需 {} 秒）。"
        if chinese
        else ("First word of `fabula write`: {} s after the start, where `import torch` takes {} s.")
    )
    word = word.format(f"{first['median_seconds']:.2f}", f"{first['import torch, seconds']:.1f}")
    tables = f"{fable}\n{fable_rows()}\n\n{quality}\n{rows}\n\n{word}"
    text = (ROOT / name).read_text(encoding="utf-8")
    return filled(text, {"figures": tables, "lesson": lesson_table(chinese=chinese)})


def chat() -> str:
    """The page of the writing table with its keys and commands brought up to date."""
    page = (HERE / "chat.md").read_text(encoding="utf-8")
    keys = "\n".join(help_page())
    return filled(page, {"keys": f"```text\n{keys}\n```", "commands": f"```text\n{HELP}\n```"})


def filled(text: str, bodies: dict[str, str]) -> str:
    """A page with what stands between `<!-- NAME -->` and `<!-- end -->` replaced."""
    for place, body in bodies.items():
        pattern = rf"(<!-- {place} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text, flags=re.DOTALL)
    return text


def main() -> int:
    """Write the pages, or compare them."""
    stale = 0
    pages = {
        "docs/commands.md": commands(),
        "docs/settings.md": settings(),
        "docs/chat.md": chat(),
        "docs/figures.md": figures(),
        "README.md": readme("README.md"),
        "README.zh.md": readme("README.zh.md"),
    }
    for name, text in pages.items():
        path = ROOT / name
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            sys.stderr.write(f"{name} is out of date: run `make fix`\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
