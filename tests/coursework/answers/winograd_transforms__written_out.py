import numpy as np

G = np.array(
    [[1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6], [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1]]
)
BT = np.array(
    [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
)
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def both_sides(M, tiles):
    """M t M^T, first the columns and then the rows."""
    return np.tensordot(np.tensordot(tiles, M, axes=(-2, 1)), M, axes=(-2, 1))


def kernel_transform(w):
    return both_sides(G, w)


def input_transform(tiles):
    return both_sides(BT, tiles)


def output_transform(m):
    return both_sides(AT, m)
