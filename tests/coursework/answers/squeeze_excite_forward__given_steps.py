from senumpy.ops.excitation import excitation_forward
from senumpy.ops.scale import scale_forward
from senumpy.ops.squeeze import squeeze_forward


def squeeze_excite_forward(u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
    return scale_forward(u, excitation_forward(squeeze_forward(u, operator=squeeze)[0], w1, b1, w2, b2, gate=gate)[0])
