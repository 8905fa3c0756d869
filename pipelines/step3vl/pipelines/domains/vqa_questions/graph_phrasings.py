"""Wordings of questions about diagrams, see `frames`."""

GRAPH_BODIES: dict[str, dict[str, tuple[str, ...]]] = {
    "edge_count": {
        "en": (
            "How many connections are there?",
            "How many edges are there?",
            "How many links between nodes are there?",
            "What is the number of edges?",
            "What is the number of connections?",
            "Count the connections.",
            "Count the edges.",
        ),
        "zh": (
            "一共有多少条连线？",
            "有几条边？",
            "节点之间共有多少条连接？",
            "连线的数量是多少？",
            "数一数共有几条边。",
        ),
    },
    "node_count": {
        "en": (
            "How many connected nodes are there?",
            "How many nodes have a connection?",
            "How many different nodes are linked?",
            "What is the number of connected nodes?",
            "Count the nodes that have a connection.",
            "Count the linked nodes.",
        ),
        "zh": (
            "一共有多少个相连的节点？",
            "有连线的节点有几个？",
            "相连的节点共有多少个？",
            "数一数有连线的节点。",
            "有多少个节点带有连线？",
        ),
    },
    "successor": {
        "en": (
            "Which node does {node} lead to?",
            "Where does the arrow from {node} lead?",
            "What comes after {node}?",
            "Which node follows {node}?",
            "At which node does the arrow from {node} end?",
            "Name the node that {node} points to.",
        ),
        "zh": (
            "{node}指向哪个节点？",
            "从{node}出发的箭头指向哪里？",
            "{node}之后是哪个节点？",
            "{node}的下一个节点是什么？",
            "说出{node}指向的节点。",
        ),
    },
    "predecessor": {
        "en": (
            "Which node leads to {node}?",
            "Where does the arrow to {node} come from?",
            "What comes before {node}?",
            "Which node points to {node}?",
            "From which node can {node} be reached directly?",
            "Name the node that points to {node}.",
        ),
        "zh": (
            "哪个节点指向{node}？",
            "指向{node}的箭头来自哪里？",
            "{node}之前是哪个节点？",
            "{node}的上一个节点是什么？",
            "说出指向{node}的节点。",
        ),
    },
    "linked": {
        "en": (
            "Is there a direct connection from {node} to {other}?",
            "Does {node} lead directly to {other}?",
            "Is {other} reached from {node} by a single arrow?",
            "Does an arrow go from {node} to {other}?",
            "Are {node} and {other} joined by an arrow that starts at {node}?",
        ),
        "zh": (
            "{node}是否直接指向{other}？",
            "有从{node}到{other}的箭头吗？",
            "{node}到{other}有直接的连线吗（以{node}为起点）？",
            "从{node}能一步到{other}吗？",
        ),
    },
    "joined": {
        "en": (
            "Are {node} and {other} directly connected?",
            "Is there a line between {node} and {other}?",
            "Does a single line join {node} and {other}?",
            "Is {node} linked with {other}?",
            "Are {node} and {other} neighbours?",
        ),
        "zh": (
            "{node}和{other}直接相连吗？",
            "{node}与{other}之间有连线吗？",
            "{node}和{other}是相邻的节点吗？",
            "有一条线连接{node}和{other}吗？",
        ),
    },
    "out_degree": {
        "en": (
            "How many arrows start at {node}?",
            "How many nodes does {node} point to?",
            "How many connections leave {node}?",
            "To how many nodes does {node} lead directly?",
            "Count the arrows that leave {node}.",
        ),
        "zh": (
            "从{node}出发的箭头有几条？",
            "{node}直接指向几个节点？",
            "{node}有几条出边？",
            "数一数从{node}出发的连线。",
            "{node}发出多少个箭头？",
        ),
    },
    "degree": {
        "en": (
            "How many lines meet at {node}?",
            "How many connections does {node} have?",
            "How many neighbours does {node} have?",
            "With how many nodes is {node} connected?",
            "Count the connections of {node}.",
        ),
        "zh": (
            "{node}有几条连线？",
            "与{node}相连的节点有几个？",
            "{node}有多少个相邻节点？",
            "数一数{node}的连线。",
            "{node}和几个节点相连？",
        ),
    },
    "edge_label": {
        "en": (
            "What is written on the connection between {node} and {other}?",
            "Which label has the edge between {node} and {other}?",
            "How is the link between {node} and {other} labelled?",
            "What does the line between {node} and {other} say?",
            "Read the label of the edge between {node} and {other}.",
        ),
        "zh": (
            "{node}和{other}之间的连线上写着什么？",
            "{node}与{other}之间的边的标签是什么？",
            "连接{node}和{other}的线上的文字是什么？",
            "读出{node}与{other}之间连线的标签。",
        ),
    },
}
