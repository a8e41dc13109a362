provider nothing_yet {
};
