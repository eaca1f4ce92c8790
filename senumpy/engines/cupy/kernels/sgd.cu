// One step of SGD on all parameters in one launch; see `Engine.sgd_update` for the formula.
//
// `tensors` is (4, count): addresses of values, gradients and velocities, and sizes. A block has `a_block` numbers of
// one tensor: block k those of tensor owners[k] from firsts[k] on.

extern "C" __global__ void __launch_bounds__(THREADS) sgd(
    const long long* __restrict__ tensors, int count, const double* __restrict__ decays,
    const int* __restrict__ owners, const long long* __restrict__ firsts, int a_block, double lr, double momentum,
    int nesterov) {
  const int tensor = owners[blockIdx.x];
  Real* __restrict__ value = (Real*)tensors[tensor];
  const Real* __restrict__ gradient = (const Real*)tensors[count + tensor];
  Real* __restrict__ velocity = (Real*)tensors[2 * count + tensor];
  const long long size = tensors[3 * count + tensor], first = firsts[blockIdx.x];
  const long long last = first + a_block < size ? first + a_block : size;
  const Real decay = (Real)decays[tensor], rate = (Real)lr, m = (Real)momentum;
#pragma unroll 4
  for (long long i = first + threadIdx.x; i < last; i += blockDim.x) {
    const Real g = gradient[i] + decay * value[i], v = m * velocity[i] + g;
    velocity[i] = v;
    value[i] -= rate * (nesterov ? g + m * v : v);
  }
}
