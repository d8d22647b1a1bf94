"""A photograph that is not decoded yet, so that a crop can say first which part of it is needed, and how finely."""

import torch
from torch import Tensor

from .arrays import is_array
from .deep import is_deep
from .image_size import MAX_PIXELS, Refused, check_jpeg
from .images import UnreadableImage, decode_image, decode_jpeg
from .jpeg import JpegHeader, first_rows, read_header
from .options import AS_STORED, ReadOptions
from .orientation import UPRIGHT, orientation_of
from .resize import resize

REDUCTIONS = (8, 4, 2)  # libjpeg has fast code for these only


class EncodedImage:
    """The bytes of a photograph.

    Decoded pixels are kept, so that several crops of one image cost one decode.

    Args:
        data: the file's content.
        name: what to call it where it turns out to be unreadable.
        in_chans: channels C, 1 or 3.
        backend, max_pixels: what decodes and resizes, and how large an image may be; see `decode_image`.
        options: see `ReadOptions`; a photograph that is to be turned is decoded as a whole.

    Attributes:
        shared: several crops will be cut, so the whole is decoded for the first.

    Raises:
        UnreadableImage: the bytes are no image, raised by the methods, or a JPEG file whose header says that it is too
            large, raised at the start.
    """

    def __init__(
        self,
        data: bytes,
        name: str,
        in_chans: int = 3,
        backend: str = "cv2",
        max_pixels: int = MAX_PIXELS,
        options: ReadOptions = AS_STORED,
    ) -> None:
        self.data, self.name, self.in_chans, self.backend, self.max_pixels = data, name, in_chans, backend, max_pixels
        self.shared = False
        self._header = read_header(data)
        self._header_size = self._header and (self._header.height, self._header.width)
        if self._header:  # a crop may decode less than all, but what is too large is so for every crop
            self._check(self._header)
        turns = options.exif and orientation_of(data, self._header) != UPRIGHT
        self._options = options if turns == options.exif else options._replace(exif=turns)
        if turns:
            self._header_size = None
        self._pixels: dict[int, Tensor] = {}

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels, from the header of a JPEG file, else by decoding."""
        return self._header_size or tuple(self.pixels().shape[-2:])

    def pixels(self, reduction: int = 1) -> Tensor:
        """Return the image, uint8 (C, H / reduction, W / reduction), the sides rounded up.

        Raises:
            UnreadableImage: the bytes are no image, or one of another size than the header states.
        """
        if reduction not in self._pixels:
            image = self._decode(self.data, reduction)
            actual, expected = tuple(image.shape[-2:]), self._header_size
            if expected and actual != tuple(-(-side // reduction) for side in expected):
                raise UnreadableImage(
                    self.name,
                    f"its header says {expected[0]} x {expected[1]} pixels, but it holds {actual[0]} x {actual[1]}",
                )
            self._pixels[reduction] = image
        return self._pixels[reduction]

    def crop(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
        """Return a box of the image, resized.

        A JPEG file is decoded down to the last row of the box only, where that is possible. A box of at least twice
        the output's size is cut from an image decoded at 1/2, 1/4 or 1/8, with its corners moved to whole pixels of
        that: several times faster on large photographs, at 0.6 to 0.7 grey levels from the exact result for the same
        corners. The backend "pillow" always decodes whole.

        Args:
            box: top, left, height and width in pixels of the whole image.
            size: height and width of the output.

        Raises:
            UnreadableImage: see `pixels`.
        """
        return resize(self.part(box, size), size, by_pillow=self.backend == "pillow")  # (C, h, w)

    def part(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
        """Return what `crop` resizes: the box as it is decoded, perhaps reduced, (C, rows, columns).

        Args:
            box, size: as in `crop`.
        """
        reduction, (top, left, bottom, right) = self._reduced(box, size)
        return self._down_to(bottom, reduction)[:, top:bottom, left:right]

    def _check(self, header: JpegHeader) -> None:
        try:
            check_jpeg(header, self.data, self.max_pixels)
        except Refused as error:
            raise UnreadableImage(self.name, error) from error

    def _decode(self, data: bytes, reduction: int) -> Tensor:
        if self._header and not self._options.exif:
            return decode_jpeg(data, self.in_chans, self.backend, reduction, self.name, self.max_pixels)
        return decode_image(data, self.in_chans, self.backend, reduction, self.name, self.max_pixels, self._options)

    def _down_to(self, bottom: int, reduction: int) -> Tensor:
        """Return at least the first `bottom` rows of `pixels(reduction)`."""
        worth_it = self._header_size and self.backend == "cv2" and not self.shared and reduction not in self._pixels
        data = first_rows(self.data, self._header, bottom * reduction) if worth_it else None
        if data is not None:
            try:
                image = self._decode(data, reduction)
            except UnreadableImage:
                return self.pixels(reduction)  # a decoder may refuse what `first_rows` makes
            if image.shape[-2] >= bottom and image.shape[-1] == -(-self._header_size[1] // reduction):
                return image
        return self.pixels(reduction)

    def _reduced(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, tuple[int, ...]]:
        top, left, height, width = box
        edges = (top, left, top + height, left + width)
        if self._header_size is None or self.backend != "cv2" or height < size[0] * 3 // 2 or width < size[1] * 3 // 2:
            return 1, edges  # the last two only save the arithmetic below
        last = (*self._header_size, *self._header_size)
        for reduction in REDUCTIONS:
            # Not beyond the last whole pixel: a cut one at the border is made up by the decoder.
            snapped = tuple(
                min((e + reduction // 2) // reduction, s // reduction) for e, s in zip(edges, last, strict=True)
            )
            if snapped[2] - snapped[0] >= size[0] and snapped[3] - snapped[1] >= size[1]:
                return reduction, snapped
        return 1, edges


def size_of(image: EncodedImage | Tensor) -> tuple[int, int]:
    """Return height and width of an image (C, H, W), or a clip (C, T, H, W), if possible without decoding it.

    Raises:
        UnreadableImage: the bytes are no image.
    """
    return (image.shape[-2], image.shape[-1]) if isinstance(image, Tensor) else image.size


def cropped(image: EncodedImage | Tensor, box: tuple[int, int, int, int], size: tuple[int, int]) -> Tensor:
    """Return a box (top, left, height, width) of an image or a clip, resized to `size`; see `EncodedImage.crop`.

    Raises:
        UnreadableImage: the bytes are no image.
    """
    if not isinstance(image, Tensor):
        return image.crop(box, size)
    top, left, height, width = box
    return resize(image[..., top : top + height, left : left + width], size)


def open_image(
    data: bytes,
    name: str,
    in_chans: int = 3,
    backend: str = "cv2",
    max_pixels: int = MAX_PIXELS,
    options: ReadOptions = AS_STORED,
) -> EncodedImage | Tensor:
    """Return a photograph undecoded, or an array or a photograph of more than 8 bits as the tensor (C, H, W) it is.

    Args:
        data: content of the file.
        name: what errors call it.
        in_chans: C.
        backend: that decodes photographs, "cv2" or "pillow".
        max_pixels: height * width at most.
        options: how values without data and EXIF orientation are read.

    Raises:
        UnreadableImage: an array that is damaged, too large or of other channels than `in_chans`, or a photograph whose
            header says that it is too large.
    """
    if is_array(data) or is_deep(data):
        return decode_image(data, in_chans, name=name, max_pixels=max_pixels, options=options)
    return EncodedImage(data, name, in_chans, backend, max_pixels, options)


def decoded(image: EncodedImage | Tensor) -> Tensor:
    """Return the image (C, H, W), decoding it where that is still to be done."""
    return image if isinstance(image, torch.Tensor) else image.pixels()
