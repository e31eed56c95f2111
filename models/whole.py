"""Running a network on one whole image of any size."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from models.network import Network


@torch.no_grad()
def restore_whole(network: Network, image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Restore a float32 (3, H, W) image, untiled, on the device where the network is.

    Right and bottom edges are repeated up to the multiple that the network accepts, and cut off again.

    Returns:
        float32 (3, scale*H, scale*W), clipped to [0, 1].
    """
    network.eval()
    device = next(network.parameters()).device
    height, width = image.shape[1:]
    x = torch.from_numpy(np.ascontiguousarray(image))[None].to(device)
    padded = F.pad(x, (0, -width % network.multiple, 0, -height % network.multiple), mode="replicate")
    restored = network(padded)[0, :, : height * network.scale, : width * network.scale]
    clipped: NDArray[np.float32] = restored.clamp(0.0, 1.0).float().cpu().numpy()
    return clipped
