"""A picture with sliders above it, for the notebooks. GitHub and paper have no sliders: each notebook also
shows such a picture as it is."""

import io

import ipywidgets
import matplotlib.pyplot as plt


def png(figure):
    """A figure as the bytes of a PNG, 90 dots per inch."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=90)
    plt.close(figure)  # or Jupyter would show it once more
    return file.getvalue()


def with_sliders(draw, /, **controls):
    """draw(**values) -> figure, drawn anew whenever a control moves.

    controls: sliders and other ipywidgets that have a value, each named as the argument of `draw` that it
    sets. Returns a VBox for Jupyter to show: the controls, then the picture, an ipywidgets.Image."""

    def picture():
        return png(draw(**{name: control.value for name, control in controls.items()}))

    image = ipywidgets.Image(value=picture(), format="png", layout={"max_width": "100%"})
    for name, control in controls.items():
        control.description = control.description or name
        control.observe(lambda change: setattr(image, "value", picture()), "value")
    box = {"align_items": "flex-start"}  # not "stretch", which would blow the picture up
    return ipywidgets.VBox([*controls.values(), image], layout=box)
