"""UniPC of order 2 with coefficients that stay on the host, so that no step waits for the device."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UniPCMultistepScheduler
from torch import Tensor


@dataclass(frozen=True)
class _Coefficients:
    """Coefficients of a step from one noise level to another; scalars on the host.

    Attributes:
        base: Factor of the latents at the first level.
        alpha: Signal level of the second level.
        growth: B(h) of UniPC-B2, exp(-h) - 1.
        ratio: Position of the level before the first one, in steps; 1 for order 1.
        corrector: Weights of the corrector.
    """

    base: Tensor
    alpha: Tensor
    growth: Tensor
    ratio: Tensor
    corrector: Tensor


class UniPCScheduler(UniPCMultistepScheduler):
    """The UniPC solver of diffusers with its default options; its own code copies and solves on the device.

    Results are those of diffusers bit for bit on the CPU.

    Source: W. Zhao et al., UniPC: A Unified Predictor-Corrector Framework, 2023.
    """

    def multistep_uni_p_bh_update(
        self, model_output: Tensor, *args: Any, sample: Tensor, order: int, **kwargs: Any
    ) -> Tensor:
        """Predict the latents of the next noise level."""
        clean = self.model_outputs[-1]
        to = self._coefficients(self.step_index, self.step_index + 1, self.step_index - 1, order)
        predicted = to.base * sample - to.alpha * to.growth * clean
        if order == 1:
            return predicted
        slope = (self.model_outputs[-2] - clean) / to.ratio
        return predicted - to.alpha * to.growth * (0.5 * slope)

    def multistep_uni_c_bh_update(
        self, this_model_output: Tensor, *args: Any, last_sample: Tensor, this_sample: Tensor, order: int, **kwargs: Any
    ) -> Tensor:
        """Correct the latents of this noise level with the prediction that they led to."""
        clean = self.model_outputs[-1]
        to = self._coefficients(self.step_index - 1, self.step_index, self.step_index - 2, order)
        corrected = to.base * last_sample - to.alpha * to.growth * clean
        change = to.corrector[-1] * (this_model_output - clean)
        if order > 1:
            change = to.corrector[0] * ((self.model_outputs[-2] - clean) / to.ratio) + change
        return corrected - to.alpha * to.growth * change

    def _coefficients(self, start: int, end: int, before: int, order: int) -> _Coefficients:
        """Return the coefficients of the step between two noise levels, with the one before the first for order 2."""
        alpha, sigma = self._sigma_to_alpha_sigma_t(self.sigmas[end])
        start_alpha, start_sigma = self._sigma_to_alpha_sigma_t(self.sigmas[start])
        start_log = torch.log(start_alpha) - torch.log(start_sigma)
        step = torch.log(alpha) - torch.log(sigma) - start_log
        ratio = torch.ones(())
        if order > 1:
            before_alpha, before_sigma = self._sigma_to_alpha_sigma_t(self.sigmas[before])
            ratio = (torch.log(before_alpha) - torch.log(before_sigma) - start_log) / step
        growth = torch.expm1(-step)
        corrector = torch.tensor([0.5]) if order == 1 else _solve_corrector(-step, growth, ratio)
        return _Coefficients(sigma / start_sigma, alpha, growth, ratio, corrector)


def _solve_corrector(step: Tensor, growth: Tensor, ratio: Tensor) -> Tensor:
    """Return the two weights of the corrector of order 2."""
    nodes = torch.stack([ratio, torch.ones(())])
    matrix = torch.stack([torch.pow(nodes, 0), torch.pow(nodes, 1)])
    first = growth / step - 1
    second = first / step - 1 / 2
    return torch.linalg.solve(matrix, torch.stack([first * 1 / growth, second * 2 / growth]))
