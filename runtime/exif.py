"""EXIF: the orientation, and what of the rest may go into the restored file if somebody asks for it."""

from PIL import ExifTags, Image, PngImagePlugin

from runtime.parsers import PILLOW_ERRORS

__all__ = ["kept_exif", "orientation_of"]

# What describes the photograph and not the file it came in. Everything else in the main directory (sizes, strips,
# compression, orientation, the link to the thumbnail) would be wrong in a file of another size or format.
_KEPT = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.Rating,
)
_DROPPED_OF_EXIF_IFD = (
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.MakerNote,  # offsets in it point into the old file
)
_LONGEST = 65_000  # a JPEG holds one segment of 65,533 bytes


def orientation_of(image: Image.Image) -> int:
    """The orientation 1 to 8, 1 if the tag is absent or broken.

    TIFF pictures are turned by Pillow while they load, which also removes the tag. Of a PNG that is not loaded only a
    tag that stands before its pixels is seen.
    """
    try:
        if isinstance(image, PngImagePlugin.PngImageFile) and "exif" not in image.info:
            exif = Image.Image.getexif(image)  # the parser's own would load the pixels to look behind them
        else:
            exif = image.getexif()
        value = exif.get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1  # a broken tag is dropped like all other metadata; the pixels are fine
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def kept_exif(image: Image.Image) -> bytes | None:
    """The EXIF of a loaded picture as it may be written again: without orientation, sizes, thumbnail and maker note.

    Returns:
        `Exif`, two zeros and a small TIFF; None if there is none, it is broken, or longer than a JPEG can hold.
    """
    try:
        found = image.getexif()
        kept = Image.Exif()
        for tag in _KEPT:
            if tag in found:
                kept[tag] = found[tag]
        details = dict(found.get_ifd(ExifTags.IFD.Exif))
        for tag in _DROPPED_OF_EXIF_IFD:
            details.pop(tag, None)
        places = dict(found.get_ifd(ExifTags.IFD.GPSInfo))
        if details:
            kept[ExifTags.IFD.Exif] = details
        if places:
            kept[ExifTags.IFD.GPSInfo] = places
        if not len(kept):
            return None
        block = kept.tobytes()
    except PILLOW_ERRORS:
        return None
    return block if len(block) <= _LONGEST else None
