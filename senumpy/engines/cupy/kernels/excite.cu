// SE's small layers, (N, C) and (N, h): what stands between the matrix products. One thread a number.

enum GateKind { SIGMOID = 0, TANH = 1, RELU = 2 };

__device__ __forceinline__ long long number() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// x = relu(x + b), or x + b, in place; b may be absent.
extern "C" __global__ void __launch_bounds__(THREADS) add_bias(
    Real* __restrict__ x, const Real* __restrict__ b, long long count, int channels, int with_relu) {
  const long long i = number();
  if (i >= count) return;
  const Real value = b ? x[i] + b[i % channels] : x[i];
  x[i] = with_relu ? relu(value) : value;
}

// s = gate(logits + b), and where batch norm's scale and bias are given, s scale and s bias for its pass.
extern "C" __global__ void __launch_bounds__(THREADS) gates(
    const Real* __restrict__ logits, const Real* __restrict__ b, long long count, int channels, int kind,
    const Real* __restrict__ scale, const Real* __restrict__ bias, Real* __restrict__ s,
    Real* __restrict__ s_scale, Real* __restrict__ s_bias) {
  const long long i = number();
  if (i >= count) return;
  const int c = (int)(i % channels);
  const Real a = b ? logits[i] + b[c] : logits[i];
  Real value;
  if (kind == SIGMOID) {
    const Real e = exp(a < 0 ? a : -a);  // never overflows
    value = a < 0 ? e / (1 + e) : 1 / (1 + e);
  } else {
    value = kind == TANH ? tanh(a) : relu(a);
  }
  s[i] = value;
  if (scale) {
    s_scale[i] = value * scale[c];
    s_bias[i] = value * bias[c];
  }
}

// The logits' gradient from that of s. Behind batch norm ds = gamma G1 + beta G0; elsewhere ds = G1.
extern "C" __global__ void __launch_bounds__(THREADS) gates_back(
    const Real* __restrict__ g0, const Real* __restrict__ g1, const Real* __restrict__ gamma,
    const Real* __restrict__ beta, const Real* __restrict__ s, long long count, int channels, int kind,
    Real* __restrict__ dlogits) {
  const long long i = number();
  if (i >= count) return;
  const int c = (int)(i % channels);
  const Real ds = gamma ? gamma[c] * g1[i] + beta[c] * g0[i] : g1[i];
  const Real value = s[i];
  Real slope;
  if (kind == SIGMOID) slope = value * (1 - value);
  else if (kind == TANH) slope = 1 - value * value;
  else slope = value > 0 ? 1 : 0;
  dlogits[i] = kind == RELU && !(value > 0) ? (Real)0 : ds * slope;
}
