"""Make the tars of image-text pairs, as img2dataset writes them, from the photographs that the package carries.

    python data/samples/pairs/make_pairs.py

The captions were written for this project by looking at the photographs. The same photographs give the same bytes.
"""

import io
import json
import tarfile
from pathlib import Path

from PIL import Image

_FOLDER = Path(__file__).parent
_PHOTOS = _FOLDER.parents[1] / "step3vl/data/assets/photos"
_SIDE = 256  # pixels of the longer side
_CAPTIONS = {
    "astronaut": (
        "An astronaut in an orange pressure suit smiles, her helmet before her and a model of the shuttle behind.",
        "一名身穿橙色宇航服的女宇航员面带微笑，身前放着头盔，身后是美国国旗和航天飞机模型。",
    ),
    "brick": (
        "Rows of dark bricks with light joints between them run away from the viewer.",
        "一排排深色砖块向远处延伸，砖缝颜色较浅。",
    ),
    "camera": (
        "A man in a dark coat bends over a camera on a tripod in a wide field; buildings stand in the distance.",
        "一名穿深色大衣的男子在草地上俯身看三脚架上的相机，远处有建筑物。",
    ),
    "chelsea": (
        "The face of a ginger tabby cat with green eyes, seen from close up.",
        "一只橘色虎斑猫的脸部特写，眼睛是绿色的。",
    ),
    "coffee": (
        "A red cup of espresso on its saucer with a small spoon, on a wooden table.",
        "木桌上的红色碟子里放着一杯浓缩咖啡和一把小勺。",
    ),
    "grass": (
        "Short grass with a few small leaves covers the ground, seen from above.",
        "从上方看到的草地，草叶间夹杂着一些小叶片。",
    ),
    "gravel": (
        "A bed of gravel made of many small, angular stones.",
        "许多有棱角的小石子铺成的碎石地面。",
    ),
    "hubble": (
        "Galaxies of many shapes and colours in black space, photographed by the Hubble Space Telescope.",
        "哈勃空间望远镜拍摄的深空照片，黑色背景上布满形状和颜色各异的星系。",
    ),
    "rocket": (
        "A white rocket stands on its launch pad at dusk among lattice towers, with bright lights below.",
        "黄昏时分，一枚白色火箭竖立在发射台上，四周是塔架，下方灯光明亮。",
    ),
}
_PUBLIC_DOMAIN = ("astronaut", "hubble", "rocket")


def main() -> None:
    """Write a tar of English and one of Chinese pairs."""
    for place, language in enumerate(("en", "zh")):
        with tarfile.open(_FOLDER / f"photos-{language}.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
            for number, (name, captions) in enumerate(_CAPTIONS.items()):
                licence = "public domain" if name in _PUBLIC_DOMAIN else "CC0-1.0"
                meta = {"caption": captions[place], "key": f"{number:09}", "license": licence, "url": f"{name}.jpg"}
                _add(archive, f"{number:09}.jpg", _shrunk(_PHOTOS / f"{name}.jpg"))
                _add(archive, f"{number:09}.json", json.dumps(meta, ensure_ascii=False).encode())
                _add(archive, f"{number:09}.txt", captions[place].encode())


def _shrunk(path: Path) -> bytes:
    with Image.open(path) as image:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


if __name__ == "__main__":
    main()
