// Passes over an activation that are no part of batch norm: ReLU, sums, SE's scale.

// y = relu(x + other), or without one of the two.
extern "C" __global__ void __launch_bounds__(THREADS) activate(
    const Real* __restrict__ x, const Real* __restrict__ other, long long vecs, int with_relu,
    Real* __restrict__ y) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= vecs) return;
  Vec value = load(x, i);
  if (other) {
    const Vec addend = load(other, i);
    for (int j = 0; j < V; ++j) value.v[j] += addend.v[j];
  }
  if (with_relu)
    for (int j = 0; j < V; ++j) value.v[j] = relu(value.v[j]);
  store(y, i, value);
}

// dx = dy where the result y was positive; dx may be dy.
extern "C" __global__ void __launch_bounds__(THREADS) activate_back(
    const Real* dy, const Real* __restrict__ y, long long vecs, Real* dx) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= vecs) return;
  Vec g = load(dy, i);
  const Vec result = load(y, i);
  for (int j = 0; j < V; ++j)
    if (!(result.v[j] > 0)) g.v[j] = 0;
  store(dx, i, g);
}

// y = s (x + bias) + shift + addend, ReLU: s and shift one a channel of each image, bias one a channel; each may be
// absent. `x` may be `y`: a convolution's result is finished in place.
extern "C" __global__ void __launch_bounds__(THREADS) rescale(
    const Real* x, int rows, int vecs, int rows_a_part, const Real* __restrict__ bias,
    const Real* __restrict__ s, const Real* __restrict__ shift, const Real* __restrict__ addend, int with_relu,
    Real* y) {
  const Span sp = span(rows, vecs, rows_a_part);
  if (sp.first >= sp.last) return;
  const long long own = (long long)blockIdx.z * vecs + sp.c;
  const Vec b = bias ? load(bias, sp.c) : filled(0), a = s ? load(s, own) : filled(1);
  const Vec t = shift ? load(shift, own) : filled(0);
#pragma unroll 4
  for (int row = sp.first; row < sp.last; row += sp.step) {
    const long long at = sp.at + (long long)row * vecs;
    Vec value = x ? load(x, at) : filled(0);
    if (bias)
      for (int j = 0; j < V; ++j) value.v[j] += b.v[j];
    if (s)
      for (int j = 0; j < V; ++j) value.v[j] *= a.v[j];
    if (shift)
      for (int j = 0; j < V; ++j) value.v[j] += t.v[j];
    if (addend) {
      const Vec other = load(addend, at);
      for (int j = 0; j < V; ++j) value.v[j] += other.v[j];
    }
    if (with_relu)
      for (int j = 0; j < V; ++j) value.v[j] = relu(value.v[j]);
    store(y, at, value);
  }
}
