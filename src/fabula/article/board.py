"""The tip `tensorboard`: the experiment's scalars, its graph and its stories as TensorBoard shows them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fabula.article.experiment import Report, Run, run
from fabula.article.tips import Question, Table, say
from fabula.errors import MissingExtraError
from fabula.lesson import Network

PLACE = "tensorboard"


class _Traced(nn.Module):
    """The hand-written network in the form that TensorBoard draws."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (W,) to scores (P, V)."""
        return self.network.forward(ids).scores


def table(question: Question, folder: Path, progress: Callable[[int, int, int, int], None]) -> Table | None:
    """Run the experiment with TensorBoard listening; None after Ctrl-C. Errors: MissingExtraError without it."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("--tip tensorboard", "track") from None
    plan, material = question.plan, question.material
    writer = SummaryWriter(log_dir=str(folder / PLACE / f"{plan.layers}x{plan.hidden}-seed{plan.seed}"))
    prompts = material.prompts(plan.window)

    def listen(taken: Run, report: Report | None) -> None:
        progress(taken.done, plan.iterations, 0, 1)
        if report:
            writer.add_scalar("learning/loss", report.loss, report.iteration)
            writer.add_scalar("learning/accuracy", report.accuracy, report.iteration)
            for prompt in prompts:
                given, told = taken.tell(prompt)
                writer.add_text(f"story/{prompt}", material.text([*given, *told]), report.iteration)

    taken = run(plan, material, listener=listen)
    with warnings.catch_warnings():
        # TensorBoard reads only traced graphs, and torch has begun to call tracing old.
        warnings.simplefilter("ignore")
        with torch.no_grad():
            writer.add_graph(_Traced(taken.network), torch.from_numpy(material.ids[: plan.window]))
    writer.close()
    if taken.interrupted:
        return None
    logs = str(folder / PLACE)
    return Table(
        "tensorboard",
        say("TensorBoard", "TensorBoard"),
        say(
            f"Everything is in {logs}: look with tensorboard --logdir {logs}",
            f"全部记录在 {logs}：用 tensorboard --logdir {logs} 查看",
        ),
        (say("tab", "标签页"), say("what is there", "内容"), say("what to look at", "看什么")),
        (
            ("Scalars", "learning/loss, learning/accuracy", say(
                "loss should fall and accuracy rise; a jump upwards in the loss means that the rate is too high for this moment",
                "损失应下降，准确率应上升；损失突然跳高，说明此刻学习率过大",
            )),
            ("Graphs", say("the network, operation by operation", "逐个运算的网络"), say(
                "one chain of gates for each word of the window, one output at the end: is the graph the one you meant?",
                "窗口中每个词对应一串门，最后一个输出：这是你想要的图吗？",
            )),
            ("Text", say("both stories, every 1,000 steps", "两个故事，每 1,000 步一次"), say(
                "when the first story stops going round in circles", "第一个故事从何时起不再原地打转",
            )),
        ),
    )  # fmt: skip
