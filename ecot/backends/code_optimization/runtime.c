/* The four functions that the compiler may call by itself even without a C library. They count as the caller's. */

typedef unsigned long size_t;
typedef long vector __attribute__((vector_size(32), aligned(1), may_alias));

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  char *t = to;
  const char *f = from;
  for (; size >= 32; size -= 32, t += 32, f += 32) *(vector *)t = *(const vector *)f;
  while (size--) *t++ = *f++;
  return to;
}

void *memmove(void *to, const void *from, size_t size) {
  if ((size_t)to - (size_t)from >= size) return memcpy(to, from, size);
  char *t = to;
  const char *f = from;
  for (; size >= 32; size -= 32) *(vector *)(t + size - 32) = *(const vector *)(f + size - 32);
  while (size--) t[size] = f[size];
  return to;
}

void *memset(void *to, int value, size_t size) {
  char *t = to;
  vector filled = (vector){0} + (long)(0x0101010101010101UL * (unsigned char)value);
  for (; size >= 32; size -= 32, t += 32) *(vector *)t = filled;
  while (size--) *t++ = (char)value;
  return to;
}

int memcmp(const void *left, const void *right, size_t size) {
  const unsigned char *l = left, *r = right;
  for (; size && *l == *r; size--) l++, r++;
  return size ? *l - *r : 0;
}
