"""Colour profiles: kept where they describe the pixels handed on, applied to CMYK, which is handed on as sRGB."""

import io

from PIL import Image, ImageCms

__all__ = ["cmyk_to_rgb", "usable_profile"]

_MAX_ICC_BYTES = 2**20  # Pillow reads no longer one from a PNG; real profiles are below 1 MiB, most below 10 KiB


def usable_profile(profile: object, gray: bool) -> bytes | None:
    """The profile if it describes the channels we hand on; one for CMYK would spoil the RGB result.

    Args:
        profile: What the parser found.
        gray: Whether one channel of colour is handed on.
    """
    return profile if isinstance(profile, bytes) and _is_for(profile, b"GRAY" if gray else b"RGB ") else None


def cmyk_to_rgb(image: Image.Image, profile: object) -> Image.Image:
    """Convert CMYK to sRGB: by the embedded profile, or by the plain formula.

    The profile is applied with relative colorimetric intent and black point compensation, as editors do. The formula,
    white minus ink for each channel, is also taken where the profile is broken or not one for CMYK: the picture is
    fine, and a file that every other program shows is not refused.

    Args:
        image: Of mode CMYK.
        profile: What the parser found.
    """
    if isinstance(profile, bytes) and _is_for(profile, b"CMYK"):
        try:
            converted = ImageCms.profileToProfile(
                image,
                io.BytesIO(profile),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")


def _is_for(profile: bytes, space: bytes) -> bool:
    return 128 <= len(profile) <= _MAX_ICC_BYTES and profile[36:40] == b"acsp" and profile[16:20] == space
