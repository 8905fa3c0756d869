"""PDF files of a page, written by hand, so that a test says what is in them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"


def write_pdf(
    path: Path,
    content: str,
    page: str = "/MediaBox [0 0 300 200]",
    fields: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Path:
    """Write a PDF of one page.

    Args:
        path: The file.
        content: The page's content stream, whose font is /F1.
        page: More of the page's dictionary.
        fields: The dictionaries of form fields without `<<`, `>>` and what makes them widgets of the page.
        names: The characters that the font says some of its glyphs are, of which it shows others.
    """
    first_field = 6
    references = " ".join(f"{first_field + number} 0 R" for number in range(len(fields)))
    form = f"/AcroForm << /Fields [{references}] /NeedAppearances true /DR << /Font << /F1 4 0 R >> >> >>"
    annotations = f"/Annots [{references}]"
    objects = [
        f"<< /Type /Catalog /Pages 2 0 R {form if fields else ''} >>".encode(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R {page} /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> "
        f"{annotations if fields else ''} >>".encode(),
        FONT,
        _stream(content.encode("latin-1")),
        *(f"<< /Type /Annot /Subtype /Widget /P 3 0 R /F 4 {field} >>".encode("latin-1") for field in fields),
    ]
    if names:
        objects[3] = FONT.replace(b">>", b"/ToUnicode %d 0 R >>" % (len(objects) + 1))
        objects.append(_stream(_character_map(names)))
    data, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(data)
    data += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    data += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    data += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    path.write_bytes(data)
    return path


def _stream(data: bytes) -> bytes:
    return b"<< /Length %d >>\nstream\n%s\nendstream" % (len(data), data)


def _character_map(names: Mapping[str, str]) -> bytes:
    lines = "\n".join(f"<{ord(glyph):02X}> <{name.encode('utf-16-be').hex()}>" for glyph, name in names.items())
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /names def\n"
        f"1 begincodespacerange <00> <FF> endcodespacerange\n{len(names)} beginbfchar\n{lines}\nendbfchar\n"
        "endcmap CMapName currentdict /CMap defineresource pop end end"
    ).encode()


def show(text: str, x: int, y: int, size: int = 12, more: str = "") -> str:
    """A text at a place, with operators before it."""
    return f"BT {more} /F1 {size} Tf 1 0 0 1 {x} {y} Tm ({text}) Tj ET\n"
