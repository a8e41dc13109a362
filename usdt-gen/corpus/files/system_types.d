/* Types of the headers stdint.h, sys/types.h, stddef.h, wchar.h, sys/socket.h and netinet/in.h. */
#include <stdint.h>
#include <sys/types.h>

provider gtk {
	probe object__new(void *object, uintmax_t type);
	probe thread__spawned(void *, void *, char *);
	probe stdint(intmax_t a, ptrdiff_t b, int_fast8_t c, int_fast16_t d, int_least32_t e, uint_fast32_t f,
	    uint_least8_t g, uint_least64_t h);
	probe wide(wchar_t a, wint_t b, char8_t c, char16_t d, char32_t e);
	probe files(dev_t a, ino_t b, mode_t c, nlink_t d, off_t e, blksize_t f, blkcnt_t g, fsblkcnt_t h, loff_t i);
	probe users(uid_t a, gid_t b, id_t c, key_t d, pid_t e);
	probe times(time_t a, suseconds_t b, useconds_t c, clock_t d, clockid_t e, timer_t f);
	probe berkeley(u_char a, u_short b, u_int c, u_long d, u_int8_t e, u_int64_t f, quad_t g, u_quad_t h, caddr_t i,
	    daddr_t j);
	probe system__v(uint a, ushort b, ulong c);
	probe sockets(socklen_t a, sa_family_t b, in_addr_t c, in_port_t d);
	probe threads(pthread_t a, pthread_key_t b, sig_atomic_t c);
	probe illumos(zoneid_t a, projid_t b, taskid_t c, poolid_t d, ctid_t e, processorid_t f, psetid_t g,
	    lgrp_id_t h, major_t i, minor_t j, hrtime_t k, boolean_t l);
	probe illumos__words(uchar_t a, ushort_t b, uint_t c, ulong_t d, longlong_t e, u_longlong_t f, offset_t g,
	    pgcnt_t h);
	probe pointers(uintmax_t *a, const caddr_t *b, size_t c[]);
};
