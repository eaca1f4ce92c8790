def one(size, kernel, stride, padding, dilation, ceil_mode):
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    if free < 0:
        raise ValueError(f"the window ({kernel} taps) is larger than the padded image")
    whole, rest = divmod(free, stride)
    count = whole + 1
    if rest and ceil_mode and count * stride < size + padding:
        count += 1
    return count


def output_size(size, window, *, ceil_mode=False):
    kernel, stride, padding, dilation = window
    return tuple(
        one(size[k], kernel[k], stride[k], padding[k], dilation[k], ceil_mode) for k in range(len(size))
    )
