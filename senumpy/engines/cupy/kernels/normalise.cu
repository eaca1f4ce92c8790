// Batch norm, forward and backward, with what runs in the same passes: ReLU, SE's scale, the shortcut.
//
//     y = relu(s ((x - mean) scale + bias) + shortcut)
//
// Backward, with g = dy where the ReLU was open, xhat = (x - mean) rstd, M values a channel, and dv = s g + shift
// the gradient of batch norm's result (shift: what comes back through SE's squeeze):
//     dbeta = sum dv,  dgamma = sum dv xhat,  dx = scale (dv - dbeta / M - xhat dgamma / M)

// How a backward knows where the ReLU was open.
enum Gate { NO_RELU = 0, BY_AFFINE = 1, BY_RESULT = 2 };

// `step`: 0 for one scale and bias a channel, `vecs` for one a channel of each image.
extern "C" __global__ void __launch_bounds__(THREADS) normalise(
    const Real* __restrict__ x, int rows, int vecs, int rows_a_part, const Real* __restrict__ mean,
    const Real* __restrict__ scale, const Real* __restrict__ bias, int step, const Real* __restrict__ shortcut,
    int with_relu, Real* __restrict__ y) {
  const Span s = span(rows, vecs, rows_a_part);
  if (s.first >= s.last) return;
  const long long own = (long long)blockIdx.z * step + s.c;
  const Vec m = mean ? load(mean, s.c) : filled(0), a = load(scale, own), b = load(bias, own);
#pragma unroll 4
  for (int row = s.first; row < s.last; row += s.step) {
    const long long at = s.at + (long long)row * vecs;
    Vec value = load(x, at);
    for (int j = 0; j < V; ++j) value.v[j] = affine(value.v[j], m.v[j], a.v[j], b.v[j]);
    if (shortcut) {
      const Vec other = load(shortcut, at);
      for (int j = 0; j < V; ++j) value.v[j] += other.v[j];
    }
    if (with_relu)
      for (int j = 0; j < V; ++j) value.v[j] = relu(value.v[j]);
    store(y, at, value);
  }
}

// The gradient behind the ReLU.
__device__ __forceinline__ Vec opened(
    const Vec& dy, const Vec& x, const Real* y, long long at, int gate, const Vec& m, const Vec& a, const Vec& b) {
  Vec g = dy;
  if (gate == BY_AFFINE) {
    for (int j = 0; j < V; ++j)
      if (!(affine(x.v[j], m.v[j], a.v[j], b.v[j]) > 0)) g.v[j] = 0;
  } else if (gate == BY_RESULT) {
    const Vec result = load(y, at);
    for (int j = 0; j < V; ++j)
      if (!(result.v[j] > 0)) g.v[j] = 0;
  }
  return g;
}

// sum g and sum g xhat over each part of an image: (images, parts, C) each.
extern "C" __global__ void __launch_bounds__(THREADS) gradient_sums(
    const Real* __restrict__ dy, const Real* __restrict__ x, const Real* __restrict__ y, int rows, int vecs,
    int rows_a_part, int gate, const Real* __restrict__ mean, const Real* __restrict__ rstd,
    const Real* __restrict__ scale, const Real* __restrict__ bias, Real* __restrict__ g0, Real* __restrict__ g1) {
  __shared__ Vec shared0[THREADS], shared1[THREADS];
  const Span s = span(rows, vecs, rows_a_part);
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  Vec sum0 = filled(0), sum1 = filled(0);
  if (s.c < vecs) {
    const Vec m = load(mean, s.c), r = load(rstd, s.c), a = load(scale, s.c), b = load(bias, s.c);
#pragma unroll 2
    for (int row = s.first; row < s.last; row += s.step) {
      const long long at = s.at + (long long)row * vecs;
      const Vec value = load(x, at), g = opened(load(dy, at), value, y, at, gate, m, a, b);
      for (int j = 0; j < V; ++j) {
        sum0.v[j] += g.v[j];
        sum1.v[j] += g.v[j] * ((value.v[j] - m.v[j]) * r.v[j]);
      }
    }
  }
  shared0[me] = sum0;
  shared1[me] = sum1;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half)
      for (int j = 0; j < V; ++j) {
        shared0[me].v[j] += shared0[me + half * blockDim.x].v[j];
        shared1[me].v[j] += shared1[me + half * blockDim.x].v[j];
      }
  }
  if (threadIdx.y == 0 && s.c < vecs) {
    const long long to = ((long long)blockIdx.z * gridDim.y + blockIdx.y) * vecs + s.c;
    store(g0, to, shared0[me]);
    store(g1, to, shared1[me]);
  }
}

// dgamma and dbeta from the sums of `count` parts, and their shares dbeta / M, dgamma / M. With SE (`s` is set)
// the parts are whole images, and each image's sums of dv = s g + dz / HW are s G0 + dz and s G1 + dz xhat_mean.
extern "C" __global__ void __launch_bounds__(THREADS) parameter_gradients(
    const Real* __restrict__ g0, const Real* __restrict__ g1, const Real* __restrict__ s,
    const Real* __restrict__ dz, const Real* __restrict__ xhat_mean, int count, int channels, double values,
    Real* __restrict__ dgamma, Real* __restrict__ dbeta, Real* __restrict__ dgamma_share,
    Real* __restrict__ dbeta_share) {
  __shared__ double shared0[THREADS], shared1[THREADS];
  const int c = blockIdx.x * blockDim.x + threadIdx.x;
  const int me = threadIdx.y * blockDim.x + threadIdx.x;
  double sum0 = 0, sum1 = 0;
  if (c < channels)
    for (int k = threadIdx.y; k < count; k += blockDim.y) {
      const long long at = (long long)k * channels + c;
      const double factor = s ? (double)s[at] : 1.0;
      sum0 += factor * g0[at] + (s ? (double)dz[at] : 0.0);
      sum1 += factor * g1[at] + (s ? (double)dz[at] * xhat_mean[at] : 0.0);
    }
  shared0[me] = sum0;
  shared1[me] = sum1;
  for (int half = blockDim.y / 2; half > 0; half /= 2) {
    __syncthreads();
    if ((int)threadIdx.y < half) {
      shared0[me] += shared0[me + half * blockDim.x];
      shared1[me] += shared1[me + half * blockDim.x];
    }
  }
  if (threadIdx.y != 0 || c >= channels) return;
  dbeta[c] = (Real)shared0[me];
  dgamma[c] = (Real)shared1[me];
  dbeta_share[c] = (Real)(shared0[me] / values);
  dgamma_share[c] = (Real)(shared1[me] / values);
}

// dx and, where asked for, the shortcut's gradient g. Without `dbeta_share` mean and variance were given, and
// dx = scale dv.
extern "C" __global__ void __launch_bounds__(THREADS) normalise_back(
    const Real* __restrict__ dy, const Real* __restrict__ x, const Real* __restrict__ y, int rows, int vecs,
    int rows_a_part, int gate, const Real* __restrict__ mean, const Real* __restrict__ rstd,
    const Real* __restrict__ scale, const Real* __restrict__ bias, const Real* __restrict__ dbeta_share,
    const Real* __restrict__ dgamma_share, const Real* __restrict__ s, const Real* __restrict__ dz,
    Real* __restrict__ dx, Real* __restrict__ dshortcut) {
  const Span sp = span(rows, vecs, rows_a_part);
  if (sp.first >= sp.last) return;
  const Vec m = load(mean, sp.c), r = load(rstd, sp.c), a = load(scale, sp.c), b = load(bias, sp.c);
  const Vec k0 = dbeta_share ? load(dbeta_share, sp.c) : filled(0);
  const Vec k1 = dbeta_share ? load(dgamma_share, sp.c) : filled(0);
  Vec factor = filled(1), shift = filled(0);
  if (s) {
    const long long own = (long long)blockIdx.z * vecs + sp.c;
    factor = load(s, own);
    shift = load(dz, own);
    for (int j = 0; j < V; ++j) shift.v[j] /= rows;
  }
#pragma unroll 2
  for (int row = sp.first; row < sp.last; row += sp.step) {
    const long long at = sp.at + (long long)row * vecs;
    const Vec value = load(x, at), g = opened(load(dy, at), value, y, at, gate, m, a, b);
    Vec back;
    for (int j = 0; j < V; ++j) {
      const Real dv = fma(factor.v[j], g.v[j], shift.v[j]), xhat = (value.v[j] - m.v[j]) * r.v[j];
      back.v[j] = a.v[j] * (dv - k0.v[j] - xhat * k1.v[j]);
    }
    store(dx, at, back);
    if (dshortcut) store(dshortcut, at, g);
  }
}
