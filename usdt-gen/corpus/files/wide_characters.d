#if L'a' == 97 && u'\n' == 10 && U'\U0001F600' == 0x1f600 && u8'~' == '~' && L'\xff' == 255 && '\101' == 'A'
provider app {
	probe wide(int a);
};
#endif
