"""The frame of a plot: axes, rows and hints as all of ours have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from bokeh.models import FactorRange, HoverTool
from bokeh.plotting import figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from poolproof.report.theme import Theme

    Figure: TypeAlias = figure

_ROW_PX: Final = 30
_FRAME_PX: Final = 62  #: what an axis with its label takes
_FONT: Final = "13px"
_TICKS: Final = 5  #: more of them run into each other on a phone


def row_frame(names: Sequence[Any], theme: Theme, x_label: str, **options: Any) -> Figure:
    """Return an empty plot with a row a factor, the first on top."""
    groups = len({name[0] for name in names}) if names and isinstance(names[0], tuple) else 0
    plot = frame(
        theme,
        x_label,
        y_range=FactorRange(factors=list(reversed(names)), group_padding=0.4),
        height=_FRAME_PX + _ROW_PX * len(names) + 14 * groups,
        **options,
    )
    plot.ygrid.grid_line_color = None
    if groups:
        plot.yaxis.group_text_color = theme.text
        plot.yaxis.group_text_font_size = _FONT
        plot.yaxis.group_label_orientation = "horizontal"
        plot.yaxis.separator_line_color = None
    return plot


def frame(theme: Theme, x_label: str, **options: Any) -> Figure:
    """Return an empty plot."""
    plot = figure(
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        output_backend="svg",
        x_axis_label=x_label,
        **options,
    )
    plot.background_fill_color = plot.border_fill_color = None
    plot.outline_line_color = None
    plot.xaxis.ticker.desired_num_ticks = _TICKS
    plot.grid.grid_line_color = theme.line
    for axis in plot.axis:
        axis.axis_line_color = theme.line
        axis.major_tick_line_color = theme.line
        axis.minor_tick_line_color = None
        axis.major_label_text_color = theme.text
        axis.major_label_text_font_size = _FONT
        axis.axis_label_text_color = theme.text
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = _FONT
    return plot


def hover(plot: Figure, tooltips: list[tuple[str, str]]) -> None:
    """Show something beside what the pointer is on."""
    plot.add_tools(HoverTool(tooltips=tooltips))
