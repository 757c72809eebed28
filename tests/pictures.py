"""Pictures that tests draw for themselves."""

from io import BytesIO

from PIL import Image, ImageDraw


RED = (215, 40, 40)
BLUE = (45, 80, 215)


def shapes(size: tuple[int, int] = (320, 240)) -> bytes:
    """A PNG with one red circle on the left and one blue square on the right."""
    width, height = size
    image = Image.new("RGB", size, (90, 95, 100))
    draw = ImageDraw.Draw(image)
    side = height // 3
    top = (height - side) // 2
    draw.ellipse((width // 8, top, width // 8 + side, top + side), fill=RED)
    draw.rectangle((width * 5 // 8, top, width * 5 // 8 + side, top + side), fill=BLUE)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
