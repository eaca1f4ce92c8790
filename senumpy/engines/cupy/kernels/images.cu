// Images arrive as bytes (N, H, W, C); crop, mirror image and normalisation happen here.
//
//     x = byte scale + shift, with 0 for bytes outside of the image
//
// rounded after the product and after the sum, as on processors: the same images on every engine.

extern "C" __global__ void __launch_bounds__(THREADS) prepare_images(
    const unsigned char* __restrict__ images, const int* __restrict__ offsets,
    const unsigned char* __restrict__ flips, const float* __restrict__ scale, const float* __restrict__ shift,
    int h, int w, int channels, int count, float* __restrict__ x) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const int c = i % channels, pixel = i / channels, line = pixel / w, row = line % h, image = line / h;
  int col = pixel % w;
  if (flips && flips[image]) col = w - 1 - col;
  const int from_row = offsets ? row + offsets[2 * image] : row;
  const int from_col = offsets ? col + offsets[2 * image + 1] : col;
  const bool in = from_row >= 0 && from_row < h && from_col >= 0 && from_col < w;
  const float byte = in ? (float)images[((long long)(image * h + from_row) * w + from_col) * channels + c] : 0.0f;
  x[i] = __fadd_rn(__fmul_rn(byte, scale[c]), shift[c]);
}
