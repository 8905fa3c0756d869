"""How an image's code, its data or a place on it is asked for: many phrasings in English and Chinese."""

import random

from step3vl.pipelines.core.phrasings import STEP, Language, combine
from step3vl.pipelines.render.figures.figures import Notation

NOTATIONS: dict[Notation, tuple[str, str]] = {
    "vega-lite": ("Vega-Lite JSON", "Vega-Lite 的 JSON"),
    "python": ("Python code for matplotlib", "matplotlib 的 Python 代码"),
    "plotly": ("Python code for Plotly", "Plotly 的 Python 代码"),
    "dot": ("Graphviz DOT source", "Graphviz 的 DOT 源码"),
    "latex": ("LaTeX", "LaTeX 源码"),
    "typst": ("Typst markup", "Typst 源码"),
    "smiles": ("SMILES", "SMILES"),
    "schemdraw": ("Python code for schemdraw", "schemdraw 的 Python 代码"),
    "markdown": ("Markdown", "Markdown"),
    "abc": ("ABC notation", "ABC 记谱"),
    "mermaid": ("Mermaid source", "Mermaid 源码"),
    "tikz": ("TikZ code", "TikZ 代码"),
}
SUBJECTS: dict[str, tuple[str, str]] = {
    "vega_lite": ("chart", "图表"),
    "matplotlib": ("chart", "图表"),
    "plotly": ("chart", "图表"),
    "graphviz": ("diagram", "图"),
    "formula": ("formula", "公式"),
    "table": ("table", "表格"),
    "molecule": ("structure", "结构式"),
    "circuit": ("circuit", "电路图"),
    "infographic": ("infographic", "信息图"),
    "music": ("score", "乐谱"),
    "mermaid": ("diagram", "图"),
    "tikz": ("drawing", "图形"),
}


_CODE_EN = combine(
    " ",
    ("Write", "Give", "Produce", "Write out", "Reconstruct", "Provide"),
    (
        "the {notation} that renders this {subject}.",
        "the {notation} behind the {subject} in the image.",
        "{notation} that reproduces this {subject}.",
        "the {notation} of this {subject}.",
        "{notation} for the {subject} shown here.",
        "{notation} from which this {subject} can be rendered again.",
    ),
    (
        "What {notation} renders this {subject}?",
        "Convert this {subject} to {notation}.",
        "Turn the {subject} into {notation}.",
        "Transcribe the {subject} as {notation}.",
        "Which {notation} would give this image?",
        "How is this {subject} written as {notation}?",
        "I need this {subject} as {notation}.",
        "Recreate this image with {notation}.",
        "Express the {subject} in the image as {notation}.",
        "This {subject} was rendered from {notation}. Which?",
        "Code this {subject}: answer with {notation} only.",
        "Please answer with {notation} that gives this {subject}.",
        "Reverse-engineer the {subject} into {notation}.",
        "Read the {subject} and return {notation}.",
    ),
)
_CODE_ZH = combine(
    "",
    ("写出", "请写出", "给出", "请给出", "输出", "还原", "请还原"),
    (
        "生成这张{subject}的 {notation}。",
        "图中{subject}的 {notation}。",
        "能重现该{subject}的 {notation}。",
        "与图像中的{subject}对应的 {notation}。",
        "绘出此{subject}所用的 {notation}。",
    ),
    (
        "这个{subject}用 {notation} 怎么写？",
        "把图中的{subject}转换成 {notation}。",
        "将这张图转写为 {notation}。",
        "请用 {notation} 重现这个{subject}。",
        "什么样的 {notation} 会得到这张图？",
    ),
)

_DATA_EN = combine(
    " ",
    ("Give", "Extract", "List", "Read off", "Return", "Write down"),
    (
        "the data of this {subject} as {format}.",
        "the values that the {subject} shows as {format}.",
        "all numbers of the {subject} as {format}.",
        "the table behind this {subject} as {format}.",
        "the underlying data as {format}.",
        "what the {subject} says as {format}.",
    ),
    (
        "Convert this {subject} to {format}.",
        "Turn the {subject} into a table in {format}.",
        "What data does the {subject} show? Answer in {format}.",
        "Which values are shown? Use {format}.",
        "Transcribe the {subject} into {format}.",
        "I need the numbers of this image as {format}.",
        "Make a table in {format} of this {subject}.",
        "Read the {subject} and answer with {format} only.",
        "Reconstruct the table from the {subject}, as {format}.",
        "Recover the plotted values as {format}.",
        "Rewrite the image as {format}.",
        "Tabulate this {subject} in {format}.",
        "Digitise the {subject}: {format} with a header.",
        "Provide the data in {format}, header first.",
    ),
)
_DATA_ZH = combine(
    "",
    ("提取", "给出", "读出", "列出", "请提取", "请给出", "请列出"),
    (
        "图中的数据，格式为 {format}。",
        "这个{subject}的全部数值，用 {format} 表示。",
        "{subject}背后的数据表（{format}）。",
        "该{subject}所示的数据，以 {format} 输出。",
        "图像里的数值，写成 {format}。",
    ),
    (
        "把这个{subject}转换成 {format}。",
        "将图中的数据整理为 {format}。",
        "这个{subject}表示哪些数据？用 {format} 回答。",
        "请用 {format} 还原数据表。",
        "图中各数值是多少？以 {format} 作答。",
    ),
)

_EDGES_EN = combine(
    " ",
    ("List", "Give", "Extract", "Write down", "Return", "Read off"),
    (
        "every connection of the diagram as CSV.",
        "all edges of this graph as CSV.",
        "the links between the nodes as CSV.",
        "which nodes are connected, as CSV.",
        "the edges shown here, a line each, as CSV.",
        "the structure of the diagram as a CSV of edges.",
    ),
    (
        "Which nodes are connected? Answer as CSV.",
        "Turn the diagram into a list of edges in CSV.",
        "Convert the graph to an edge list (CSV).",
        "What are the edges of this graph? Use CSV.",
        "Describe the diagram as CSV, an edge a line.",
        "Transcribe the connections as CSV.",
        "I need the edge list of this diagram as CSV.",
        "Tabulate the connections in CSV.",
        "Read the diagram: edges as CSV with a header.",
        "Provide an edge list with a header, as CSV.",
        "Rewrite this graph as CSV edges.",
        "Make a CSV of who is linked to whom.",
        "Recover the edge list in CSV.",
        "Edges of the diagram as CSV, please.",
    ),
)
_EDGES_ZH = combine(
    "",
    ("列出", "给出", "提取", "读出", "请列出", "请给出", "请提取"),
    (
        "图中的所有连线，格式为 CSV。",
        "各节点之间的连接（CSV）。",
        "该图的边列表，用 CSV 表示。",
        "哪些节点相连，写成 CSV。",
        "图的结构，每条边一行，CSV 格式。",
    ),
    (
        "把这个图转换成 CSV 边列表。",
        "图中有哪些边？用 CSV 回答。",
        "将连接关系整理为 CSV。",
        "哪些节点相连？以 CSV 作答。",
        "请用 CSV 写出每条连线。",
    ),
)

_PARTS_EN = combine(
    " ",
    ("List", "Give", "Extract", "Write down", "Return", "Read off"),
    (
        "the components of this circuit as CSV.",
        "every component of the circuit as CSV.",
        "all parts in the circuit diagram as CSV.",
        "a bill of materials for this circuit as CSV.",
        "the parts of the schematic, a line each, as CSV.",
        "each component with its type as CSV.",
    ),
    (
        "Which components does the circuit have? Answer as CSV.",
        "What is in this circuit? Use CSV.",
        "Convert the circuit to a list of parts (CSV).",
        "Turn the schematic into a CSV of its components.",
        "I need the parts list of this circuit as CSV.",
        "Tabulate the components in CSV.",
        "Make a CSV of the components in the diagram.",
        "Which parts are drawn here? Reply with CSV.",
        "Take an inventory of this circuit as CSV.",
        "Name every component in the schematic, as CSV.",
        "Provide the component list as CSV, header first.",
        "Read the schematic: components as CSV with a header.",
        "Transcribe the components of the circuit as CSV.",
        "Components of the circuit as CSV, please.",
    ),
)
_PARTS_ZH = combine(
    "",
    ("列出", "给出", "提取", "读出", "请列出", "请给出", "请提取"),
    (
        "电路中的所有元件，格式为 CSV。",
        "该电路图的元件清单（CSV）。",
        "图中各元件及其类型，用 CSV 表示。",
        "电路的元件表，每个元件一行，CSV 格式。",
        "这张电路图里的元件，写成 CSV。",
    ),
    (
        "这个电路有哪些元件？用 CSV 回答。",
        "把电路图转换成 CSV 元件清单。",
        "将图中的元件整理为 CSV。",
        "图中画了哪些元件？以 CSV 作答。",
        "请用 CSV 写出每个元件。",
    ),
)

_SMILES_EN = combine(
    " ",
    ("Write", "Give", "Provide", "Write out", "Return", "State"),
    (
        "the SMILES of this molecule.",
        "the SMILES string for the structure shown.",
        "a SMILES of the compound in the image.",
        "the structure as SMILES.",
        "the molecule in SMILES notation.",
        "a SMILES string that describes this structure.",
    ),
    (
        "What is the SMILES of this molecule?",
        "Which SMILES describes the structure in the image?",
        "Convert this structure to SMILES.",
        "Translate the structural formula into SMILES.",
        "Transcribe the molecule as SMILES.",
        "How is this compound written in SMILES?",
        "I need this molecule as SMILES.",
        "Read the structural formula and answer with SMILES only.",
        "Encode the drawn molecule as a SMILES string.",
        "Express the structure in the image as SMILES.",
        "Turn this chemical structure into SMILES.",
        "Identify the structure: answer with its SMILES.",
        "SMILES of the compound, please.",
        "What SMILES string would give this drawing?",
    ),
)
_SMILES_ZH = combine(
    "",
    ("写出", "请写出", "给出", "请给出", "输出", "请输出", "写一下"),
    (
        "这个分子的 SMILES。",
        "图中结构式的 SMILES 字符串。",
        "该化合物的 SMILES 表示。",
        "所示分子结构对应的 SMILES。",
        "图中化合物的 SMILES。",
    ),
    (
        "这个分子的 SMILES 是什么？",
        "把图中的结构式转换成 SMILES。",
        "请用 SMILES 表示图中的分子。",
        "将这个化学结构转写为 SMILES。",
        "哪个 SMILES 描述了图中的结构？",
    ),
)

_TRANSCRIBE_EN = combine(
    " ",
    ("Transcribe", "Convert", "Turn", "Rewrite", "Render"),
    (
        "this infographic into Markdown.",
        "the infographic in the image into Markdown.",
        "the content of the infographic into Markdown.",
        "everything this infographic says into Markdown.",
        "the page into Markdown, section by section.",
        "the image into structured Markdown.",
        "the texts and numbers of this infographic into Markdown.",
    ),
    (
        "What does the infographic say? Answer in Markdown.",
        "Write the infographic as Markdown.",
        "Give the content of this infographic as Markdown.",
        "Extract all texts and numbers as Markdown.",
        "Read the infographic and return Markdown.",
        "I need this infographic as Markdown.",
        "Produce a Markdown version of this infographic.",
        "Summarise nothing, leave nothing out: the infographic as Markdown.",
        "Write out every section of the infographic in Markdown.",
        "Express the infographic as Markdown, with its headings.",
        "Copy the infographic's content to Markdown.",
        "Digitise this infographic: Markdown only.",
        "Show the content of the image as Markdown.",
        "Put this infographic into Markdown, with tables for its charts.",
        "Reproduce the information of this image in Markdown.",
    ),
)
_TRANSCRIBE_ZH = combine(
    "",
    ("转写", "请转写", "提取", "请提取", "写出", "请写出", "整理"),
    (
        "这张信息图的内容，格式为 Markdown。",
        "图中的全部文字和数字，用 Markdown 表示。",
        "信息图的各个部分，写成 Markdown。",
        "图像里的信息，以 Markdown 输出。",
        "这张图的标题、数据和列表（Markdown）。",
    ),
    (
        "把这张信息图转换成 Markdown。",
        "信息图说了什么？用 Markdown 回答。",
        "请用 Markdown 还原这张信息图。",
        "将图中的内容逐段写成 Markdown。",
        "以 Markdown 给出信息图的完整内容。",
    ),
)

_PLACE_EN = combine(
    " ",
    ("Give", "Return", "Find", "Output", "Mark", "Provide"),
    (
        'the bounding box of the text "{text}".',
        'the box around "{text}".',
        'where "{text}" stands, as a box.',
        'the box of "{text}" in the {subject}.',
        'the region of the text "{text}".',
        'the box that encloses the words "{text}".',
    ),
    (
        'Where is "{text}" in the image?',
        'Locate "{text}".',
        'Where does the {subject} say "{text}"?',
        'Point out "{text}" with a bounding box.',
        'Detect the text "{text}".',
        'Ground "{text}" in the image.',
        'In which box is "{text}" written?',
        'Box the words "{text}".',
        'Which part of the image reads "{text}"?',
        'Where can "{text}" be read?',
        'Localise the text "{text}".',
        'Show where "{text}" is.',
        'Which region says "{text}"?',
        'Frame the text "{text}".',
    ),
)
_PLACE_ZH = combine(
    "",
    ("给出", "请给出", "标出", "请标出", "找出", "请找出", "框出"),
    (
        "文字“{text}”的边界框。",
        "“{text}”所在的位置。",
        "图中“{text}”的框。",
        "写有“{text}”的区域。",
        "{subject}中“{text}”的边界框。",
    ),
    (
        "“{text}”在图中的哪里？",
        "定位文字“{text}”。",
        "图中哪个区域写着“{text}”？",
        "用边界框指出“{text}”。",
        "“{text}”的坐标是什么？",
    ),
)

_TEMPLATES = {
    "code": {"en": _CODE_EN, "zh": _CODE_ZH},
    "data": {"en": _DATA_EN, "zh": _DATA_ZH},
    "edges": {"en": _EDGES_EN, "zh": _EDGES_ZH},
    "parts": {"en": _PARTS_EN, "zh": _PARTS_ZH},
    "smiles": {"en": _SMILES_EN, "zh": _SMILES_ZH},
    "transcribe": {"en": _TRANSCRIBE_EN, "zh": _TRANSCRIBE_ZH},
    "place": {"en": _PLACE_EN, "zh": _PLACE_ZH},
}


def phrasings(kind: str, language: Language) -> tuple[str, ...]:
    """The templates of a kind of question, such as `code`."""
    return _TEMPLATES[kind][language]


def ask(
    kind: str,
    language: Language,
    tool: str,
    rng: random.Random,
    notation: Notation | None = None,
    step: str = "",
    **values: str,
) -> str:
    """A question.

    Args:
        kind: `code`, `smiles` or `transcribe`; `data`, `edges` or `parts`; `place`.
        language: Of the question.
        tool: Which rendered the image.
        rng: Random numbers.
        notation: Of the code that is asked for.
        step: Of the values, which is said if it is there.
        values: `format` or `text`.
    """
    place = ("en", "zh").index(language)
    if notation is not None:
        values["notation"] = NOTATIONS[notation][place]
    template = rng.choice(phrasings(kind, language))
    if not values.get("notation", "")[-1:].isascii():  # "用 SMILES 重现", but "用 DOT 源码重现"
        template = template.replace("{notation} ", "{notation}")
    question = template.format(subject=SUBJECTS[tool][place], **values)
    return question + (STEP[language].format(step=step) if step else "")
