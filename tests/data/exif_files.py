"""JPEG files with an EXIF orientation, made byte by byte."""

import io
import struct

from PIL import Image

ORIENTATION = 0x0112


def encode_jpeg(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def exif_segment(orientation, byte_order=">", tag=ORIENTATION):
    """The segment of a JPEG file with three tags, of which the second is the orientation."""
    entries = [
        struct.pack(byte_order + "HHII", 0x0100, 4, 1, 33),
        struct.pack(byte_order + "HHIHH", tag, 3, 1, orientation, 0),
        struct.pack(byte_order + "HHII", 0x0115, 4, 1, 3),
    ]
    start = {">": b"MM", "<": b"II"}[byte_order] + struct.pack(byte_order + "HI", 42, 8)
    directory = struct.pack(byte_order + "H", len(entries)) + b"".join(entries) + bytes(4)
    content = b"Exif\0\0" + start + directory
    return struct.pack(">BBH", 0xFF, 0xE1, len(content) + 2) + content


def with_segments(jpeg, segments):
    """Puts segments at the beginning of a JPEG file, where cameras put them."""
    return jpeg[:2] + segments + jpeg[2:]


def turned_jpeg(pixels, orientation):
    """A JPEG file of these stored pixels with an orientation."""
    return with_segments(encode_jpeg(pixels), exif_segment(orientation))
