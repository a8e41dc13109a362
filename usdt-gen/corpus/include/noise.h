/* Typical contents of C headers. */
#ifdef __cplusplus
extern "C" {
#endif
extern int noise_level;
extern const char *noise_name(int kind, ...) __attribute__((format(printf, 1, 2)));
static inline int noise_twice(int x) { return 2 * x; }
static const int noise_table[] = { 1, 2, { 3 } };
_Static_assert(sizeof(int) == 4, "int");
typedef unsigned noise_t;
struct noisy { noise_t level; __extension__ unsigned long long since; };
int noise_callback(int (*f)(void *), void *data);
#ifdef __cplusplus
}
#endif
