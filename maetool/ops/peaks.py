"""The peak rates of known accelerators."""

import torch

# Dense products in bfloat16 or float16 with float32 sums, in 1e12 operations a second, from the makers' data sheets;
# the first name that is in the device's counts.
_PEAKS = {
    "B200": 2250.0,
    "GH200": 989.5,
    "H200": 989.5,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "H100": 989.5,
    "A100": 312.0,
    "A800": 312.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "A40": 149.7,
    "A10G": 70.0,
    "A10": 125.0,
    "V100": 125.0,
    "T4": 65.0,
    "MI300X": 1307.4,
    "MI250X": 383.0,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


def peak_of(device_name: str) -> float | None:
    """Return the most operations a second of 16-bit products on a device; None if it is not known.

    Args:
        device_name: as `torch.cuda.get_device_name()` gives it.
    """
    return next((1e12 * peak for name, peak in _PEAKS.items() if name in device_name), None)


def present_peak() -> float | None:
    """Return the peak of this process's accelerator; None without a known one."""
    return peak_of(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
