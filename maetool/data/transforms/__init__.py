"""What is done to an image and to what lies on it: crops, flips, scales, augmentation, normalisation."""

from maetool._lazy import lazily

_PLACES = {
    "augment": ("AugmentingPreprocessor", "RandAugment"),
    "boxes": ("FitObjects", "LargeScaleJitter"),
    "codes": ("ColourCodes",),
    "crops": (
        *("RandomResizedCrop", "Resize", "ResizeCenterCrop", "ResizeRandomCrop"),
        *("SingleDrawCrop", "size_of", "range_of"),
    ),
    "flips": ("FlipObjects", "RandomFlip", "RandomHorizontalFlip"),
    "gaps": ("GappedPatches",),
    "maps": ("ClassBalancedCrop", "FitSize", "PhotometricDistortion", "RandomScale"),
    "on_device": ("ResizeOnDevice",),
    "preprocessor": ("ImagePreprocessor",),
    "sample": ("PhotoTransform", "SampleTransform"),
    "several": ("SeveralViews",),
    "views": ("GlobalToLocalViews", "SplitChannels", "SplitViews", "TwoCrops", "TwoFrames"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
