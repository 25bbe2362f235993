"""How near a decoded frame is to what it should be: PSNR and SSIM (Wang et al. 2004, Gaussian window of 11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_WINDOW = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
_WINDOW /= _WINDOW.sum()
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """dB; 99 where they are equal."""
    error = float(np.mean((image.astype(np.float32) - reference.astype(np.float32)) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))


def ssim(image: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Of one plane; of RGB (H, W, 3), the mean of its three."""
    if image.ndim == 3:
        return float(np.mean([ssim(image[..., channel], reference[..., channel]) for channel in range(3)]))
    a, b = image.astype(np.float64), reference.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a, variance_b = _blur(a * a) - mean_a**2, _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + _C1) * (2 * covariance + _C2)
    bottom = (mean_a**2 + mean_b**2 + _C1) * (variance_a + variance_b + _C2)
    return float(np.mean(top / bottom))


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane under the window, where it fits."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, len(_WINDOW), axis=0) @ _WINDOW
    return np.lib.stride_tricks.sliding_window_view(windows, len(_WINDOW), axis=1) @ _WINDOW
