"""The paper's figures, one command each: see trajectory.py for what they measure."""

from trajectory import (READINGS, Trajectory, intermediate_predictions, participation_ratio, pca, record,  # noqa: F401
                        residuals, rows)
