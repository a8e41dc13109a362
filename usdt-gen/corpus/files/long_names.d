/* With long names, gofmt breaks functions that otherwise stay on one line. */
union a_union_with_a_name_that_is_rather_long_for_a_union {
	int a_member_with_a_name_that_is_rather_long_for_a_member;
	long another_member_with_a_name_that_is_rather_long;
};

provider long_names {
	probe a_probe_with_a_name_that_is_rather_long_for_a_probe(union a_union_with_a_name_that_is_rather_long_for_a_union *u);
	probe short_one();
};
