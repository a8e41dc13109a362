provider fs { probe opened(struct inode *i, struct dentry *d, union key *k, struct super_block **sb); };
