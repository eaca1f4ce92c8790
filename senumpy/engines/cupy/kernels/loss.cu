// Softmax cross-entropy with label smoothing: one block a row of logits (N, K).

// The mean of the rows' losses is their `column_sums` times 1 / N.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy(
    const Real* __restrict__ logits, const long long* __restrict__ labels, int classes, double smoothing,
    Real* __restrict__ p, Real* __restrict__ losses) {
  __shared__ Real shared[THREADS];
  const long long row = (long long)blockIdx.x * classes;
  const int me = threadIdx.x;
  Real largest = logits[row];
  for (int k = me; k < classes; k += blockDim.x) {
    const Real a = logits[row + k];
    if (a > largest || a != a) largest = a;
  }
  shared[me] = largest;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half && (shared[me + half] > shared[me] || shared[me + half] != shared[me + half]))
      shared[me] = shared[me + half];
  }
  __syncthreads();
  largest = shared[0];
  __syncthreads();
  Real sum = 0;
  for (int k = me; k < classes; k += blockDim.x) sum += exp(logits[row + k] - largest);
  shared[me] = sum;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) shared[me] += shared[me + half];
  }
  __syncthreads();
  const Real log_sum = log(shared[0]);
  __syncthreads();
  // q = 0 counts as 0 even where log p is -inf: a logit of -inf rules a class out.
  const Real off = (Real)(smoothing / classes), on = (Real)(1 - smoothing + smoothing / classes);
  Real loss = 0;
  for (int k = me; k < classes; k += blockDim.x) {
    const Real log_p = (logits[row + k] - largest) - log_sum, q = k == labels[blockIdx.x] ? on : off;
    if (q > 0) loss -= q * log_p;
    p[row + k] = exp(log_p);
  }
  shared[me] = loss;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) shared[me] += shared[me + half];
  }
  if (me == 0) losses[blockIdx.x] = shared[0];
}

// dlogits = (p - q) factor, factor = dloss / N.
extern "C" __global__ void __launch_bounds__(THREADS) cross_entropy_back(
    const Real* __restrict__ p, const long long* __restrict__ labels, int classes, long long count,
    double smoothing, Real factor, Real* __restrict__ dlogits) {
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const double off = smoothing / classes;
  const Real q = (Real)(i % classes == labels[i / classes] ? 1 - smoothing + off : off);
  dlogits[i] = (p[i] - q) * factor;
}
