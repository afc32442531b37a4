"""Writes augment.tsv: what torchvision makes of one picture of 3 x 8 x 7 pixels.

Made with torchvision 0.29.2, torch 2.15.0, Pillow 13.0.0: python make_augment.py > augment.tsv
"""
import torch
import torchvision.transforms.v2.functional as F
from torchvision.transforms import InterpolationMode as I

height, width = 8, 7
x = torch.tensor([(c * 61 + y * 29 + x * 17 + (x * y * (c + 2)) % 23 * 5) % 256
                  for c in range(3) for y in range(height) for x in range(width)],
                 dtype=torch.uint8).reshape(3, height, width)
f = x.float() / 255


def out(name, *numbers, value):
    value = value.float() * (1 if value.dtype == torch.uint8 else 255)
    row = [name, " ".join(str(n) for n in numbers), " ".join(f"{v:.4f}" for v in value.flatten().tolist())]
    print("\t".join(row))


out("input", value=x)
out("brightness", 1.4, value=F.adjust_brightness(f, 1.4))
out("contrast", 0.6, value=F.adjust_contrast(f, 0.6))
out("saturation", 1.7, value=F.adjust_saturation(f, 1.7))
for turn in (0.1, -0.3, 0.5):
    out("hue", turn, value=F.adjust_hue(f, turn))
out("grey", value=F.rgb_to_grayscale(f, 3))
out("invert", value=F.invert(x))
out("solarize", 100, value=F.solarize(x, 100))
out("posterize", 3, value=F.posterize(x, 3))
out("auto_contrast", value=F.autocontrast(f))
large = torch.tensor([(y * 3 + x * x // 9) % 160 for y in range(40) for x in range(40)], dtype=torch.uint8).reshape(1, 40, 40)
out("large", value=large)
out("equalize", value=F.equalize(large))
for factor in (0.0, 2.0):
    out("sharpness", factor, value=F.adjust_sharpness(f, factor))
# Kernels of three deviations either way.
for sigma in (0.7, 1.0):
    reach = -int(-3 * sigma // 1)
    out("blur", sigma, value=F.gaussian_blur(f, 2 * reach + 1, [sigma, sigma]))
for degrees in (30.0, -77.0):
    out("rotate", degrees, value=F.rotate(f, degrees, I.BILINEAR))
# torchvision's angles are clockwise here, its moves (x, y) to the right and down.
out("affine", -20.0, 1.0, 2.0, 1.3, 15.0, value=F.affine(f, 20.0, [2, 1], 1.3, [15.0, 0.0], I.BILINEAR))
corners = [[0, 0], [6, 0], [6, 7], [0, 7]]
moved = [[1, 2], [5, 0], [6, 6], [0, 5]]
out("perspective", 1, 2, 5, 0, 6, 6, 0, 5, value=F.perspective(f, corners, moved, I.BILINEAR))
out("resized_crop", 1, 2, 5, 3, value=F.resized_crop(f, 1, 2, 5, 3, [8, 7], I.BILINEAR, antialias=False))
out("hflip", value=F.horizontal_flip(x))
