// What stands before every kernel file. Set when a kernel is compiled:
//   Real     float or double
//   V        how many neighbouring channels a thread takes at once: 16 bytes, or 1 where channels don't divide
//   THREADS  threads of a block
//
// Activations lie in memory as (N, H, W, C): rows of channels, one row a pixel. A pass over them has blocks of
// (channels / V) x rows threads and the grid (channels, parts of an image, images).

// Pixels, of all images together, are counted in 32 bits: a division in 64 takes as long as several loads. Numbers
// of an array are counted in 64.

struct alignas(V * sizeof(Real)) Vec {
  Real v[V];
};

struct Span {  // the rows of an image that a thread takes, and its place among the channels
  int c, first, last, step;
  long long at;  // of the image's first row, in Vec
};

__device__ __forceinline__ Span span(int rows, int vecs, int rows_a_part) {
  Span s;
  s.c = blockIdx.x * blockDim.x + threadIdx.x;
  const int begin = blockIdx.y * rows_a_part, end = begin + rows_a_part;
  s.first = s.c < vecs ? begin + (int)threadIdx.y : rows;
  s.last = end < rows ? end : rows;
  s.step = blockDim.y;
  s.at = (long long)blockIdx.z * rows * vecs + s.c;
  return s;
}

__device__ __forceinline__ Vec load(const Real* x, long long i) { return ((const Vec*)x)[i]; }
__device__ __forceinline__ void store(Real* y, long long i, const Vec& value) { ((Vec*)y)[i] = value; }

__device__ __forceinline__ Vec filled(Real number) {
  Vec value;
  for (int j = 0; j < V; ++j) value.v[j] = number;
  return value;
}

// (x - mean) scale + bias; written once, and with the fused form spelled out, so that the forward and a backward
// that asks again where the result was positive get the same bits.
__device__ __forceinline__ Real affine(Real x, Real mean, Real scale, Real bias) {
  return fma(x - mean, scale, bias);
}

// ReLU lets NaN through.
__device__ __forceinline__ Real relu(Real x) { return x <= 0 ? (Real)0 : x; }
