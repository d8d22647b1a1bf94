"""What is done to an image and to what lies on it: crops, flips, scales, augmentation, normalisation."""

from maetool._lazy import lazily

_PLACES = {
    "augment": ("AugmentingPreprocessor", "RandAugment"),
    "boxes": ("FitObjects", "FlipObjects", "LargeScaleJitter"),
    "codes": ("ColourCodes",),
    "crops": (
        *("RandomHorizontalFlip", "RandomResizedCrop", "Resize", "ResizeCenterCrop", "ResizeRandomCrop"),
        *("SingleDrawCrop", "PhotoTransform", "size_of", "range_of"),
    ),
    "maps": ("ClassBalancedCrop", "FitSize", "PhotometricDistortion", "RandomFlip", "RandomScale"),
    "preprocessor": ("ImagePreprocessor",),
    "views": ("GlobalToLocalViews", "SplitChannels", "TwoCrops", "TwoFrames"),
}
__all__ = sorted(name for names in _PLACES.values() for name in names)
__getattr__ = lazily(__name__, _PLACES)
