"""What LiveBench's rules read a response by: solution tags, boxes, bold text. All take linear time."""

_OPENING, _CLOSING = "<solution>", "</solution>"
_COMMANDS = ("\\text{", "}", "\\")


def solutions(response: str) -> list[str]:
    """What stands between solution tags within a line; between two closing tags where no opening one is used."""
    return between(response, _OPENING, _CLOSING) or between(response, _CLOSING, _CLOSING)


def bold(response: str) -> list[str]:
    """What stands between two double asterisks within a line."""
    return between(response, "**", "**")


def between(text: str, opening: str, closing: str) -> list[str]:
    """The texts between two marks within a line, in order."""
    parts: list[str] = []
    for line in text.split("\n"):
        start = line.find(opening)
        while start >= 0:
            start += len(opening)
            end = line.find(closing, start)
            if end < 0:
                break
            parts.append(line[start:end])
            start = line.find(opening, end + len(closing))
    return parts


def last_between(text: str, opening: str, closing: str) -> str | None:
    """The text between the last pair of marks, which may span lines; None without a pair."""
    end = text.rfind(closing)
    start = text.rfind(opening, 0, max(end, 0))
    return text[start + len(opening) : end] if start >= 0 else None


def boxed(response: str) -> str | None:
    r"""What the last `\boxed{…}` (or `\fbox{…}`, or `\boxed …` up to a dollar sign) holds; None without one."""
    if "\\boxed " in response:
        return response.rpartition("\\boxed ")[2].partition("$")[0]
    start = max(response.rfind("\\boxed"), -1)
    if start < 0:
        start = response.rfind("\\fbox")
    if start < 0:
        return None
    depth = 0
    for position in range(start, len(response)):
        depth += {"{": 1, "}": -1}.get(response[position], 0)
        if depth == 0 and response[position] == "}":
            content = response[start : position + 1].replace("$", "").replace("fbox", "boxed")
            return content[len("\\boxed{") : -1] if content.startswith("\\boxed{") else None
    return None


def plain(text: str, commands: tuple[str, ...] = _COMMANDS) -> str:
    """The text without some commands and signs of LaTeX; by default `\\text`, closing braces and backslashes."""
    for command in commands:
        text = text.replace(command, "")
    return text
