#define SHAPE \
  int width, \
  int height
provider c { probe resized(SHAPE); };
