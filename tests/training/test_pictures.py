"""A run's curves."""

from PIL import Image

from training.log import COLUMNS
from training.pictures import draw_curves


def test_curves_of_rows_with_gaps(tmp_path):
    """A row has validation or not; one of a step in which nothing halted has no means."""
    more = len(COLUMNS) - 1
    rows = [",".join(COLUMNS), "10" + ",0.5" * more, "20" + "," * more]
    path = tmp_path / "metrics.csv"
    path.write_text("\n".join(rows))
    draw_curves(path, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").width == 1300
