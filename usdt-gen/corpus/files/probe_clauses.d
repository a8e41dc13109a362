provider app { probe tick(int n); };
BEGIN { printf("start\n"); }
app*:::tick
/ arg0 > 3 /
{
	@count[probename] = count();
}
