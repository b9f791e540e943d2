"""The net of lib.models.he_net in PyTorch, as its users would write it: the peer of the benchmarks."""

import torch
from torch import nn
from torch.nn import functional

from lib.data import MEAN_STD


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; with own norms for each of `steps` steps."""

    def __init__(self, inputs, width, steps=1):
        super().__init__()
        stride = 1 if inputs == width else 2
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm1 = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(steps))
        self.norm2 = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(steps))
        self.project = None
        if stride == 2:
            self.project = nn.Sequential(nn.Conv2d(inputs, width, 1, 2, bias=False), nn.BatchNorm2d(width))

    def forward(self, x, step=0):
        y = functional.relu(self.norm1[step](self.conv1(x)))
        y = self.norm2[step](self.conv2(y))
        return functional.relu(y + (x if self.project is None else self.project(x)))


class ResidualNet(nn.Module):
    """ResNet of 6n + 2 layers, or the RecNet of that depth; raw images (batch, 3, height, width) -> logits."""

    def __init__(self, n, tied, width=16):
        super().__init__()
        mean, std = MEAN_STD["cifar10"]
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))
        self.stem, self.norm = nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        steps, inputs = [], width  # a block and the number of its step
        for stage in range(3):
            channels, repeated = width << stage, n - (stage > 0)
            if stage:
                steps.append((Block(inputs, channels), 0))
            if tied:
                block = Block(channels, channels, repeated)
                steps += [(block, t) for t in range(repeated)]
            else:
                steps += [(Block(channels, channels), 0) for _ in range(repeated)]
            inputs = channels
        self.blocks = nn.ModuleList(dict.fromkeys(block for block, _ in steps))
        self.steps = steps
        self.logits = nn.Linear(inputs, 10)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem((x.float() - self.mean) / self.std)))
        for block, step in self.steps:
            x = block(x, step)
        return self.logits(x.mean((2, 3)).float())
