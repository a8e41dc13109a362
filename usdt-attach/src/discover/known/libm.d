// GNU libc up to 2.34: manual/probes.texi, "Mathematical Function Probes".

provider libm {
	probe slowexp_p6(double input, double result);
	probe slowexp_p32(double input, double result);
	probe slowpow_p10(double x, double y, double fast_result, double result);
	probe slowpow_p32(double x, double y, double fast_result, double result);
	probe slowlog(int precision, double input, double result);
	probe slowlog_inexact(int precision, double input, double result);
	probe slowatan2(int precision, double y, double x, double result);
	probe slowatan2_inexact(int precision, double y, double x, double result);
	probe slowatan(int precision, double input, double result);
	probe slowatan_inexact(int precision, double input, double result);
	probe slowtan(double input, double result);
	probe slowasin(double input, double result);
	probe slowacos(double input, double result);
	probe slowsin(double input, double result);
	probe slowcos(double input, double result);
	probe slowsin_dx(double input, double error, double result);
	probe slowcos_dx(double input, double error, double result);
};
