"""A table with merged cells, rendered with its rules."""

from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from step3vl.data.sample import Box
from step3vl.pipelines.render.style import plain

LEFT, TOP, WIDTH, HEIGHT = 60, 80, 150, 40
ROWS = (("Apple", "2.10", "14"), ("Pear", "3.40", "25"), ("Plum", "0.95", "36"))


def table_image(font: ImageFont.FreeTypeFont) -> tuple[PILImage.Image, Box]:
    """The page and the table's box. The first cell spans two rows, the next one two columns."""
    image = plain((600, 420), (255, 255, 255))
    canvas = ImageDraw.Draw(image)
    texts = [("Fruit", 0, 0, 1, 2), ("Harvest", 1, 0, 2, 1), ("Price", 1, 1, 1, 1), ("Weight", 2, 1, 1, 1)]
    texts += [(text, column, 2 + row, 1, 1) for row, cells in enumerate(ROWS) for column, text in enumerate(cells)]
    for text, column, row, columns, rows in texts:
        x, y = LEFT + WIDTH * column, TOP + HEIGHT * row
        canvas.rectangle((x, y, x + WIDTH * columns, y + HEIGHT * rows), outline=(0, 0, 0), width=2)
        canvas.text((x + WIDTH * columns / 2, y + HEIGHT * rows / 2), text, (0, 0, 0), font, anchor="mm")
    box = Box(LEFT - 6.0, TOP - 6.0, LEFT + 3 * WIDTH + 6.0, TOP + 5 * HEIGHT + 6.0, "pixels", image.size)
    return image, box
