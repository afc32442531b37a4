"""Writes pictures.tsv: small picture files of many kinds, and the pixels that Pillow reads from them.

A line: name, channels, height, width, the file in hexadecimal, the pixels as [channels, height, width] in hexadecimal (or
`refused`). Made with Pillow 13.0.0: python make_pictures.py > pictures.tsv
"""
import io
from PIL import Image, ImageOps

W, H = 6, 5
rgb = Image.new("RGB", (W, H))
rgb.putdata([(x * 40, y * 50, (x + y) * 20) for y in range(H) for x in range(W)])
smooth = Image.new("RGB", (16, 16))
smooth.putdata([(x * 10, y * 10, 100 + x * 2) for y in range(16) for x in range(16)])
grey = rgb.convert("L")


def emit(name, image, expected, channels, format="PNG", **save):
    file = io.BytesIO()
    image.save(file, format, **save)
    if expected is None:
        pixels, size = "refused", image.size
    else:
        size = expected.size
        bands = expected.split() if channels > 1 else [expected]
        pixels = b"".join(band.tobytes() for band in bands).hex()
    print(name, channels, size[1], size[0], file.getvalue().hex(), pixels, sep="\t")


emit("png_rgb", rgb, rgb, 3)
emit("png_grey", grey, grey, 1)
emit("png_grey_as_colours", grey, grey.convert("RGB"), 3)
palette = rgb.quantize(13)
emit("png_palette_4_bits", palette, palette.convert("RGB"), 3, bits=4)
emit("png_palette_8_bits", palette, palette.convert("RGB"), 3, bits=8)
two = grey.point(lambda v: 255 if v > 90 else 0).convert("1")
emit("png_1_bit", two, two.convert("L"), 1)
deep = Image.new("I;16", (4, 1))
for x, v in enumerate([0, 128, 32896, 65535]):
    deep.putpixel((x, 0), v)
eight = Image.new("L", (4, 1))
eight.putdata([0, 0, 128, 255])
emit("png_16_bits", deep, eight, 1)
alpha = Image.new("LA", (3, 1))
alpha.putdata([(200, 255), (200, 0), (200, 128)])
over = Image.new("L", (3, 1))
over.putdata([200, 0, 100])
emit("png_grey_alpha_over_black", alpha, over, 1)
rgba = rgb.convert("RGBA")
rgba.putalpha(Image.linear_gradient("L").resize((W, H)))
black = Image.new("RGBA", (W, H), (0, 0, 0, 255))
emit("png_rgba_over_black", rgba, Image.alpha_composite(black, rgba).convert("RGB"), 3)
for orientation in (3, 6):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = rgb.copy()
    turned.info["exif"] = exif.tobytes()
    file = io.BytesIO()
    rgb.save(file, "PNG", exif=exif)
    emit(f"png_orientation_{orientation}", rgb, ImageOps.exif_transpose(Image.open(file)).convert("RGB"), 3, exif=exif)
    file = io.BytesIO()
    smooth.crop((0, 0, 16, 8)).save(file, "JPEG", quality=95, exif=exif)
    emit(f"jpeg_orientation_{orientation}", smooth.crop((0, 0, 16, 8)), ImageOps.exif_transpose(Image.open(file)).convert("RGB"), 3,
         "JPEG", quality=95, exif=exif)
for name, save in {"jpeg": {}, "jpeg_progressive": {"progressive": True}, "jpeg_444": {"subsampling": 0}}.items():
    file = io.BytesIO()
    smooth.save(file, "JPEG", quality=95, **save)
    emit(name, smooth, Image.open(file).convert("RGB"), 3, "JPEG", quality=95, **save)
file = io.BytesIO()
smooth.convert("L").save(file, "JPEG", quality=95)
emit("jpeg_grey", smooth.convert("L"), Image.open(file).convert("L"), 1, "JPEG", quality=95)
emit("jpeg_cmyk", smooth.convert("CMYK"), None, 3, "JPEG", quality=95)
emit("gif", rgb, None, 3, "GIF")
emit("bmp", rgb, None, 3, "BMP")
emit("tiff", rgb, None, 3, "TIFF")
emit("webp", rgb, None, 3, "WEBP")
frames = [rgb, ImageOps.invert(rgb)]
emit("apng_first_frame", frames[0], rgb, 3, save_all=True, append_images=frames[1:])
# Pillow rounds between the two directions, nerve at the end.
noise = Image.new("RGB", (16, 16))
noise.putdata([((x * 97 + y * 31) % 256, (x * x * 5 + y * 60) % 256, (x * y * 13) % 256) for y in range(16) for x in range(16)])
for size in ((7, 5), (23, 30), (4, 16), (1, 1)):
    emit(f"resize_to_{size[0]}_{size[1]}", noise, noise.resize(size, Image.Resampling.BILINEAR), 3)
