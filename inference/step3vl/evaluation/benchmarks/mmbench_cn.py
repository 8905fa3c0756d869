"""MMBench v1.1, development set, Chinese."""

from dataclasses import replace

from step3vl.evaluation.benchmark import DataFile
from step3vl.evaluation.benchmarks.mmbench_en import MMBench


class MMBenchChinese(MMBench):
    """The questions of `mmbench-en` and the prompt in Chinese."""

    about = replace(
        MMBench.about,
        name="mmbench-cn",
        title="MMBench CN",
        family="final-option-chinese",
        files=(
            DataFile("MMBench_DEV_CN_V11.tsv", "https://opencompass.openxlab.space/utils/benchmarks/MMBench", "40 MB"),
        ),
    )


BENCHMARK = MMBenchChinese()
