"""Tracking, inside fuse: which box belongs to which track, at the least total cost.

The Hungarian algorithm by shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting
path algorithm for dense and sparse linear assignment problems", 1987), without its initialisation.
"""

import numpy as np
import numpy.typing as npt

Costs = npt.NDArray[np.float64]


def assign(costs: Costs) -> list[tuple[int, int]]:
    """Pairs (row, column) of the least total cost, as many as the shorter side; (N, M), finite."""
    if costs.shape[0] > costs.shape[1]:
        return sorted((row, column) for column, row in assign(costs.T))
    row_of = _column_owners(costs)
    return sorted((int(row), column) for column, row in enumerate(row_of) if row >= 0)


def _column_owners(costs: Costs) -> npt.NDArray[np.int64]:
    rows, columns = costs.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    row_of = np.full(columns, -1, np.int64)
    for row in range(rows):
        distance = np.full(columns, np.inf)
        came_from = np.full(columns, -1, np.int64)
        is_done = np.zeros(columns, np.bool_)
        here, column, gone = row, -1, 0.0
        while True:
            reached = gone + costs[here] - row_price[here] - column_price
            is_shorter = ~is_done & (reached < distance)
            distance[is_shorter], came_from[is_shorter] = reached[is_shorter], column
            column = int(np.argmin(np.where(is_done, np.inf, distance)))
            gone = float(distance[column])
            is_done[column] = True
            if row_of[column] < 0:
                break
            here = int(row_of[column])
        _pay(row_price, column_price, row_of, distance, is_done, row, gone)
        _augment(row_of, came_from, row, column)
    return row_of


def _pay(
    row_price: Costs,
    column_price: Costs,
    row_of: npt.NDArray[np.int64],
    distance: Costs,
    is_done: npt.NDArray[np.bool_],
    row: int,
    gone: float,
) -> None:
    """Keep reduced costs from falling below zero along the path."""
    row_price[row] += gone
    owned = is_done & (row_of >= 0)
    row_price[row_of[owned]] += gone - distance[owned]
    column_price[is_done] -= gone - distance[is_done]


def _augment(
    row_of: npt.NDArray[np.int64], came_from: npt.NDArray[np.int64], row: int, column: int
) -> None:
    """Hand the columns of the path on, from its end to its beginning."""
    while (before := int(came_from[column])) >= 0:
        row_of[column] = row_of[before]
        column = before
    row_of[column] = row
