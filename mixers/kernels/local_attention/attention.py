"""What mixers hold: local attention with tables of biases for its logits."""

from dataclasses import astuple

from torch import Tensor

from .. import used
from ..frozen import KeepsWhenFrozen
from . import reference
from .geometry import Geometry
from .implementations import implementation_for
from .operator import LOCAL_ATTENTION


class LocalAttention(KeepsWhenFrozen):
    """softmax(q k^T / sqrt(d) + logits) v from blocks of pixels to windows around them, within the map.

    Has no parameters: tables come with the call. `geometry` says what blocks and windows are. Frozen, it keeps what it
    makes of a `bias_table` that is the same tensor in each call.

    Args:
        implementation: auto, cpp, triton or reference; `implementation_for` says what auto is.
    """

    def __init__(self, block_size: int, *, halo_size: int = 0, shift: int = 0, implementation: str = "auto") -> None:
        super().__init__()
        self.geometry = Geometry(block_size, halo_size, shift)
        self.implementation = implementation

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        bias_table: Tensor | None = None,
        row_table: Tensor | None = None,
        column_table: Tensor | None = None,
    ) -> Tensor:
        """Three maps B, H, W, heads, d -> B, H, W, heads * d. The logits are sums of what is given:

        Args:
            bias_table: (2w-1)^2, heads: one for each relative place, with w the side of the window; the index is
                (row of the query - row of the key + w - 1) (2w-1), and the same of the columns without the factor.
            row_table, column_table: 2w-1, d, both or none: the unscaled query's products with the entries for the
                key's row and column; the index is the key's place in the window minus the query's in the block + w - 1.

        Raises:
            ValueError: shapes that do not fit together.
        """
        self._check(query, key, value, bias_table, row_table, column_table)
        implementation = implementation_for(query, self.implementation, has_halo=self.geometry.halo_size > 0)
        if implementation != "reference":
            bias = self.keep(lambda: self._bias_by_key(bias_table), bias_table)
            how = (*astuple(self.geometry), implementation)
            output, _ = LOCAL_ATTENTION(query, key, value, bias, row_table, column_table, *how)
        else:
            like = (tuple(query.shape[1:3]), query.device, query.dtype)
            logits = self.keep(lambda: self._fixed_logits(bias_table, query), bias_table, *like)
            used.note("local_attention", used.REFERENCE)
            output = reference.forward(query, key, value, logits, row_table, column_table, self.geometry)
        return output.flatten(-2)

    def _bias_by_key(self, table: Tensor | None) -> Tensor | None:
        """heads, w*w, b*b."""
        return None if table is None else self.geometry.bias(table).transpose(1, 2).contiguous()

    def _fixed_logits(self, table: Tensor | None, query: Tensor) -> Tensor | None:
        return reference.fixed_logits(None if table is None else self.geometry.bias(table), query, self.geometry)

    def _check(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        bias_table: Tensor | None,
        row_table: Tensor | None,
        column_table: Tensor | None,
    ) -> None:
        if query.dim() != 5 or not query.shape == key.shape == value.shape:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (query, key, value))
            raise ValueError(f"local attention wants three maps B, H, W, heads, d; got {shapes}")
        heads, width = query.shape[3:]
        places = 2 * self.geometry.window_size - 1
        wanted = {"bias_table": (places**2, heads), "row_table": (places, width), "column_table": (places, width)}
        for (name, shape), table in zip(wanted.items(), (bias_table, row_table, column_table), strict=True):
            if table is not None and table.shape != shape:
                raise ValueError(f"local attention: {name} {tuple(table.shape)} must be {shape}")
        if (row_table is None) != (column_table is None):
            raise ValueError("local attention: row_table and column_table come together")
