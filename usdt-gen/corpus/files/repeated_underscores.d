provider u { probe a___b(); probe a____b(); probe __lead(); probe trail__(); };
