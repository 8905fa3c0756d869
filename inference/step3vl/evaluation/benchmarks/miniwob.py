"""MiniWoB++: small tasks on web pages, done live in Chromium."""

from step3vl.evaluation.benchmark import About, DataFile
from step3vl.evaluation.episodes import EpisodeBenchmark


class MiniWob(EpisodeBenchmark):
    """Every task that our experts can do, in five instances that no recording has; 16 tasks are in no recording."""

    suite_name, instances, max_steps = "miniwob", 5, 20

    about = About(
        name="miniwob",
        title="MiniWoB++",
        paper="https://arxiv.org/abs/1802.08802",
        licence="MIT",
        items=None,
        repeats=1,
        family="agent",
        metric="episodes with a raw reward of 1, in percent",
        files=(
            DataFile(
                "miniwob-*.whl",
                "https://github.com/Farama-Foundation/miniwob-plusplus (pip download --no-deps miniwob==1.1.0)",
                "1.9 MB",
            ),
        ),
        notes=(
            "The raw reward counts, before time takes from it, and 1 alone is success: find-greatest pays 0.1 for a "
            "wrong card, which BrowserGym counts as success.",
            "Actions are those of a screen: click, double_click, long_press, type, hot_key, slide, scroll, wait.",
            "Needs Chromium and the extra `pipelines` on the machine that evaluates.",
        ),
    )


BENCHMARK = MiniWob()
