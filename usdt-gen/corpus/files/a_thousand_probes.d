provider vm {
	/** Instruction 0. */
	probe insn__0(char *p, char *mfa, int32_t depth, uint64_t word0);
	/** Instruction 1. */
	probe insn__1(char *p, char *mfa, int32_t depth, uint64_t word1);
	/** Instruction 2. */
	probe insn__2(char *p, char *mfa, int32_t depth, uint64_t word2);
	/** Instruction 3. */
	probe insn__3(char *p, char *mfa, int32_t depth, uint64_t word3);
	/** Instruction 4. */
	probe insn__4(char *p, char *mfa, int32_t depth, uint64_t word4);
	/** Instruction 5. */
	probe insn__5(char *p, char *mfa, int32_t depth, uint64_t word5);
	/** Instruction 6. */
	probe insn__6(char *p, char *mfa, int32_t depth, uint64_t word6);
	/** Instruction 7. */
	probe insn__7(char *p, char *mfa, int32_t depth, uint64_t word7);
	/** Instruction 8. */
	probe insn__8(char *p, char *mfa, int32_t depth, uint64_t word8);
	/** Instruction 9. */
	probe insn__9(char *p, char *mfa, int32_t depth, uint64_t word9);
	/** Instruction 10. */
	probe insn__10(char *p, char *mfa, int32_t depth, uint64_t word10);
	/** Instruction 11. */
	probe insn__11(char *p, char *mfa, int32_t depth, uint64_t word11);
	/** Instruction 12. */
	probe insn__12(char *p, char *mfa, int32_t depth, uint64_t word12);
	/** Instruction 13. */
	probe insn__13(char *p, char *mfa, int32_t depth, uint64_t word13);
	/** Instruction 14. */
	probe insn__14(char *p, char *mfa, int32_t depth, uint64_t word14);
	/** Instruction 15. */
	probe insn__15(char *p, char *mfa, int32_t depth, uint64_t word15);
	/** Instruction 16. */
	probe insn__16(char *p, char *mfa, int32_t depth, uint64_t word16);
	/** Instruction 17. */
	probe insn__17(char *p, char *mfa, int32_t depth, uint64_t word17);
	/** Instruction 18. */
	probe insn__18(char *p, char *mfa, int32_t depth, uint64_t word18);
	/** Instruction 19. */
	probe insn__19(char *p, char *mfa, int32_t depth, uint64_t word19);
	/** Instruction 20. */
	probe insn__20(char *p, char *mfa, int32_t depth, uint64_t word20);
	/** Instruction 21. */
	probe insn__21(char *p, char *mfa, int32_t depth, uint64_t word21);
	/** Instruction 22. */
	probe insn__22(char *p, char *mfa, int32_t depth, uint64_t word22);
	/** Instruction 23. */
	probe insn__23(char *p, char *mfa, int32_t depth, uint64_t word23);
	/** Instruction 24. */
	probe insn__24(char *p, char *mfa, int32_t depth, uint64_t word24);
	/** Instruction 25. */
	probe insn__25(char *p, char *mfa, int32_t depth, uint64_t word25);
	/** Instruction 26. */
	probe insn__26(char *p, char *mfa, int32_t depth, uint64_t word26);
	/** Instruction 27. */
	probe insn__27(char *p, char *mfa, int32_t depth, uint64_t word27);
	/** Instruction 28. */
	probe insn__28(char *p, char *mfa, int32_t depth, uint64_t word28);
	/** Instruction 29. */
	probe insn__29(char *p, char *mfa, int32_t depth, uint64_t word29);
	/** Instruction 30. */
	probe insn__30(char *p, char *mfa, int32_t depth, uint64_t word30);
	/** Instruction 31. */
	probe insn__31(char *p, char *mfa, int32_t depth, uint64_t word31);
	/** Instruction 32. */
	probe insn__32(char *p, char *mfa, int32_t depth, uint64_t word32);
	/** Instruction 33. */
	probe insn__33(char *p, char *mfa, int32_t depth, uint64_t word33);
	/** Instruction 34. */
	probe insn__34(char *p, char *mfa, int32_t depth, uint64_t word34);
	/** Instruction 35. */
	probe insn__35(char *p, char *mfa, int32_t depth, uint64_t word35);
	/** Instruction 36. */
	probe insn__36(char *p, char *mfa, int32_t depth, uint64_t word36);
	/** Instruction 37. */
	probe insn__37(char *p, char *mfa, int32_t depth, uint64_t word37);
	/** Instruction 38. */
	probe insn__38(char *p, char *mfa, int32_t depth, uint64_t word38);
	/** Instruction 39. */
	probe insn__39(char *p, char *mfa, int32_t depth, uint64_t word39);
	/** Instruction 40. */
	probe insn__40(char *p, char *mfa, int32_t depth, uint64_t word40);
	/** Instruction 41. */
	probe insn__41(char *p, char *mfa, int32_t depth, uint64_t word41);
	/** Instruction 42. */
	probe insn__42(char *p, char *mfa, int32_t depth, uint64_t word42);
	/** Instruction 43. */
	probe insn__43(char *p, char *mfa, int32_t depth, uint64_t word43);
	/** Instruction 44. */
	probe insn__44(char *p, char *mfa, int32_t depth, uint64_t word44);
	/** Instruction 45. */
	probe insn__45(char *p, char *mfa, int32_t depth, uint64_t word45);
	/** Instruction 46. */
	probe insn__46(char *p, char *mfa, int32_t depth, uint64_t word46);
	/** Instruction 47. */
	probe insn__47(char *p, char *mfa, int32_t depth, uint64_t word47);
	/** Instruction 48. */
	probe insn__48(char *p, char *mfa, int32_t depth, uint64_t word48);
	/** Instruction 49. */
	probe insn__49(char *p, char *mfa, int32_t depth, uint64_t word49);
	/** Instruction 50. */
	probe insn__50(char *p, char *mfa, int32_t depth, uint64_t word50);
	/** Instruction 51. */
	probe insn__51(char *p, char *mfa, int32_t depth, uint64_t word51);
	/** Instruction 52. */
	probe insn__52(char *p, char *mfa, int32_t depth, uint64_t word52);
	/** Instruction 53. */
	probe insn__53(char *p, char *mfa, int32_t depth, uint64_t word53);
	/** Instruction 54. */
	probe insn__54(char *p, char *mfa, int32_t depth, uint64_t word54);
	/** Instruction 55. */
	probe insn__55(char *p, char *mfa, int32_t depth, uint64_t word55);
	/** Instruction 56. */
	probe insn__56(char *p, char *mfa, int32_t depth, uint64_t word56);
	/** Instruction 57. */
	probe insn__57(char *p, char *mfa, int32_t depth, uint64_t word57);
	/** Instruction 58. */
	probe insn__58(char *p, char *mfa, int32_t depth, uint64_t word58);
	/** Instruction 59. */
	probe insn__59(char *p, char *mfa, int32_t depth, uint64_t word59);
	/** Instruction 60. */
	probe insn__60(char *p, char *mfa, int32_t depth, uint64_t word60);
	/** Instruction 61. */
	probe insn__61(char *p, char *mfa, int32_t depth, uint64_t word61);
	/** Instruction 62. */
	probe insn__62(char *p, char *mfa, int32_t depth, uint64_t word62);
	/** Instruction 63. */
	probe insn__63(char *p, char *mfa, int32_t depth, uint64_t word63);
	/** Instruction 64. */
	probe insn__64(char *p, char *mfa, int32_t depth, uint64_t word64);
	/** Instruction 65. */
	probe insn__65(char *p, char *mfa, int32_t depth, uint64_t word65);
	/** Instruction 66. */
	probe insn__66(char *p, char *mfa, int32_t depth, uint64_t word66);
	/** Instruction 67. */
	probe insn__67(char *p, char *mfa, int32_t depth, uint64_t word67);
	/** Instruction 68. */
	probe insn__68(char *p, char *mfa, int32_t depth, uint64_t word68);
	/** Instruction 69. */
	probe insn__69(char *p, char *mfa, int32_t depth, uint64_t word69);
	/** Instruction 70. */
	probe insn__70(char *p, char *mfa, int32_t depth, uint64_t word70);
	/** Instruction 71. */
	probe insn__71(char *p, char *mfa, int32_t depth, uint64_t word71);
	/** Instruction 72. */
	probe insn__72(char *p, char *mfa, int32_t depth, uint64_t word72);
	/** Instruction 73. */
	probe insn__73(char *p, char *mfa, int32_t depth, uint64_t word73);
	/** Instruction 74. */
	probe insn__74(char *p, char *mfa, int32_t depth, uint64_t word74);
	/** Instruction 75. */
	probe insn__75(char *p, char *mfa, int32_t depth, uint64_t word75);
	/** Instruction 76. */
	probe insn__76(char *p, char *mfa, int32_t depth, uint64_t word76);
	/** Instruction 77. */
	probe insn__77(char *p, char *mfa, int32_t depth, uint64_t word77);
	/** Instruction 78. */
	probe insn__78(char *p, char *mfa, int32_t depth, uint64_t word78);
	/** Instruction 79. */
	probe insn__79(char *p, char *mfa, int32_t depth, uint64_t word79);
	/** Instruction 80. */
	probe insn__80(char *p, char *mfa, int32_t depth, uint64_t word80);
	/** Instruction 81. */
	probe insn__81(char *p, char *mfa, int32_t depth, uint64_t word81);
	/** Instruction 82. */
	probe insn__82(char *p, char *mfa, int32_t depth, uint64_t word82);
	/** Instruction 83. */
	probe insn__83(char *p, char *mfa, int32_t depth, uint64_t word83);
	/** Instruction 84. */
	probe insn__84(char *p, char *mfa, int32_t depth, uint64_t word84);
	/** Instruction 85. */
	probe insn__85(char *p, char *mfa, int32_t depth, uint64_t word85);
	/** Instruction 86. */
	probe insn__86(char *p, char *mfa, int32_t depth, uint64_t word86);
	/** Instruction 87. */
	probe insn__87(char *p, char *mfa, int32_t depth, uint64_t word87);
	/** Instruction 88. */
	probe insn__88(char *p, char *mfa, int32_t depth, uint64_t word88);
	/** Instruction 89. */
	probe insn__89(char *p, char *mfa, int32_t depth, uint64_t word89);
	/** Instruction 90. */
	probe insn__90(char *p, char *mfa, int32_t depth, uint64_t word90);
	/** Instruction 91. */
	probe insn__91(char *p, char *mfa, int32_t depth, uint64_t word91);
	/** Instruction 92. */
	probe insn__92(char *p, char *mfa, int32_t depth, uint64_t word92);
	/** Instruction 93. */
	probe insn__93(char *p, char *mfa, int32_t depth, uint64_t word93);
	/** Instruction 94. */
	probe insn__94(char *p, char *mfa, int32_t depth, uint64_t word94);
	/** Instruction 95. */
	probe insn__95(char *p, char *mfa, int32_t depth, uint64_t word95);
	/** Instruction 96. */
	probe insn__96(char *p, char *mfa, int32_t depth, uint64_t word96);
	/** Instruction 97. */
	probe insn__97(char *p, char *mfa, int32_t depth, uint64_t word97);
	/** Instruction 98. */
	probe insn__98(char *p, char *mfa, int32_t depth, uint64_t word98);
	/** Instruction 99. */
	probe insn__99(char *p, char *mfa, int32_t depth, uint64_t word99);
	/** Instruction 100. */
	probe insn__100(char *p, char *mfa, int32_t depth, uint64_t word100);
	/** Instruction 101. */
	probe insn__101(char *p, char *mfa, int32_t depth, uint64_t word101);
	/** Instruction 102. */
	probe insn__102(char *p, char *mfa, int32_t depth, uint64_t word102);
	/** Instruction 103. */
	probe insn__103(char *p, char *mfa, int32_t depth, uint64_t word103);
	/** Instruction 104. */
	probe insn__104(char *p, char *mfa, int32_t depth, uint64_t word104);
	/** Instruction 105. */
	probe insn__105(char *p, char *mfa, int32_t depth, uint64_t word105);
	/** Instruction 106. */
	probe insn__106(char *p, char *mfa, int32_t depth, uint64_t word106);
	/** Instruction 107. */
	probe insn__107(char *p, char *mfa, int32_t depth, uint64_t word107);
	/** Instruction 108. */
	probe insn__108(char *p, char *mfa, int32_t depth, uint64_t word108);
	/** Instruction 109. */
	probe insn__109(char *p, char *mfa, int32_t depth, uint64_t word109);
	/** Instruction 110. */
	probe insn__110(char *p, char *mfa, int32_t depth, uint64_t word110);
	/** Instruction 111. */
	probe insn__111(char *p, char *mfa, int32_t depth, uint64_t word111);
	/** Instruction 112. */
	probe insn__112(char *p, char *mfa, int32_t depth, uint64_t word112);
	/** Instruction 113. */
	probe insn__113(char *p, char *mfa, int32_t depth, uint64_t word113);
	/** Instruction 114. */
	probe insn__114(char *p, char *mfa, int32_t depth, uint64_t word114);
	/** Instruction 115. */
	probe insn__115(char *p, char *mfa, int32_t depth, uint64_t word115);
	/** Instruction 116. */
	probe insn__116(char *p, char *mfa, int32_t depth, uint64_t word116);
	/** Instruction 117. */
	probe insn__117(char *p, char *mfa, int32_t depth, uint64_t word117);
	/** Instruction 118. */
	probe insn__118(char *p, char *mfa, int32_t depth, uint64_t word118);
	/** Instruction 119. */
	probe insn__119(char *p, char *mfa, int32_t depth, uint64_t word119);
	/** Instruction 120. */
	probe insn__120(char *p, char *mfa, int32_t depth, uint64_t word120);
	/** Instruction 121. */
	probe insn__121(char *p, char *mfa, int32_t depth, uint64_t word121);
	/** Instruction 122. */
	probe insn__122(char *p, char *mfa, int32_t depth, uint64_t word122);
	/** Instruction 123. */
	probe insn__123(char *p, char *mfa, int32_t depth, uint64_t word123);
	/** Instruction 124. */
	probe insn__124(char *p, char *mfa, int32_t depth, uint64_t word124);
	/** Instruction 125. */
	probe insn__125(char *p, char *mfa, int32_t depth, uint64_t word125);
	/** Instruction 126. */
	probe insn__126(char *p, char *mfa, int32_t depth, uint64_t word126);
	/** Instruction 127. */
	probe insn__127(char *p, char *mfa, int32_t depth, uint64_t word127);
	/** Instruction 128. */
	probe insn__128(char *p, char *mfa, int32_t depth, uint64_t word128);
	/** Instruction 129. */
	probe insn__129(char *p, char *mfa, int32_t depth, uint64_t word129);
	/** Instruction 130. */
	probe insn__130(char *p, char *mfa, int32_t depth, uint64_t word130);
	/** Instruction 131. */
	probe insn__131(char *p, char *mfa, int32_t depth, uint64_t word131);
	/** Instruction 132. */
	probe insn__132(char *p, char *mfa, int32_t depth, uint64_t word132);
	/** Instruction 133. */
	probe insn__133(char *p, char *mfa, int32_t depth, uint64_t word133);
	/** Instruction 134. */
	probe insn__134(char *p, char *mfa, int32_t depth, uint64_t word134);
	/** Instruction 135. */
	probe insn__135(char *p, char *mfa, int32_t depth, uint64_t word135);
	/** Instruction 136. */
	probe insn__136(char *p, char *mfa, int32_t depth, uint64_t word136);
	/** Instruction 137. */
	probe insn__137(char *p, char *mfa, int32_t depth, uint64_t word137);
	/** Instruction 138. */
	probe insn__138(char *p, char *mfa, int32_t depth, uint64_t word138);
	/** Instruction 139. */
	probe insn__139(char *p, char *mfa, int32_t depth, uint64_t word139);
	/** Instruction 140. */
	probe insn__140(char *p, char *mfa, int32_t depth, uint64_t word140);
	/** Instruction 141. */
	probe insn__141(char *p, char *mfa, int32_t depth, uint64_t word141);
	/** Instruction 142. */
	probe insn__142(char *p, char *mfa, int32_t depth, uint64_t word142);
	/** Instruction 143. */
	probe insn__143(char *p, char *mfa, int32_t depth, uint64_t word143);
	/** Instruction 144. */
	probe insn__144(char *p, char *mfa, int32_t depth, uint64_t word144);
	/** Instruction 145. */
	probe insn__145(char *p, char *mfa, int32_t depth, uint64_t word145);
	/** Instruction 146. */
	probe insn__146(char *p, char *mfa, int32_t depth, uint64_t word146);
	/** Instruction 147. */
	probe insn__147(char *p, char *mfa, int32_t depth, uint64_t word147);
	/** Instruction 148. */
	probe insn__148(char *p, char *mfa, int32_t depth, uint64_t word148);
	/** Instruction 149. */
	probe insn__149(char *p, char *mfa, int32_t depth, uint64_t word149);
	/** Instruction 150. */
	probe insn__150(char *p, char *mfa, int32_t depth, uint64_t word150);
	/** Instruction 151. */
	probe insn__151(char *p, char *mfa, int32_t depth, uint64_t word151);
	/** Instruction 152. */
	probe insn__152(char *p, char *mfa, int32_t depth, uint64_t word152);
	/** Instruction 153. */
	probe insn__153(char *p, char *mfa, int32_t depth, uint64_t word153);
	/** Instruction 154. */
	probe insn__154(char *p, char *mfa, int32_t depth, uint64_t word154);
	/** Instruction 155. */
	probe insn__155(char *p, char *mfa, int32_t depth, uint64_t word155);
	/** Instruction 156. */
	probe insn__156(char *p, char *mfa, int32_t depth, uint64_t word156);
	/** Instruction 157. */
	probe insn__157(char *p, char *mfa, int32_t depth, uint64_t word157);
	/** Instruction 158. */
	probe insn__158(char *p, char *mfa, int32_t depth, uint64_t word158);
	/** Instruction 159. */
	probe insn__159(char *p, char *mfa, int32_t depth, uint64_t word159);
	/** Instruction 160. */
	probe insn__160(char *p, char *mfa, int32_t depth, uint64_t word160);
	/** Instruction 161. */
	probe insn__161(char *p, char *mfa, int32_t depth, uint64_t word161);
	/** Instruction 162. */
	probe insn__162(char *p, char *mfa, int32_t depth, uint64_t word162);
	/** Instruction 163. */
	probe insn__163(char *p, char *mfa, int32_t depth, uint64_t word163);
	/** Instruction 164. */
	probe insn__164(char *p, char *mfa, int32_t depth, uint64_t word164);
	/** Instruction 165. */
	probe insn__165(char *p, char *mfa, int32_t depth, uint64_t word165);
	/** Instruction 166. */
	probe insn__166(char *p, char *mfa, int32_t depth, uint64_t word166);
	/** Instruction 167. */
	probe insn__167(char *p, char *mfa, int32_t depth, uint64_t word167);
	/** Instruction 168. */
	probe insn__168(char *p, char *mfa, int32_t depth, uint64_t word168);
	/** Instruction 169. */
	probe insn__169(char *p, char *mfa, int32_t depth, uint64_t word169);
	/** Instruction 170. */
	probe insn__170(char *p, char *mfa, int32_t depth, uint64_t word170);
	/** Instruction 171. */
	probe insn__171(char *p, char *mfa, int32_t depth, uint64_t word171);
	/** Instruction 172. */
	probe insn__172(char *p, char *mfa, int32_t depth, uint64_t word172);
	/** Instruction 173. */
	probe insn__173(char *p, char *mfa, int32_t depth, uint64_t word173);
	/** Instruction 174. */
	probe insn__174(char *p, char *mfa, int32_t depth, uint64_t word174);
	/** Instruction 175. */
	probe insn__175(char *p, char *mfa, int32_t depth, uint64_t word175);
	/** Instruction 176. */
	probe insn__176(char *p, char *mfa, int32_t depth, uint64_t word176);
	/** Instruction 177. */
	probe insn__177(char *p, char *mfa, int32_t depth, uint64_t word177);
	/** Instruction 178. */
	probe insn__178(char *p, char *mfa, int32_t depth, uint64_t word178);
	/** Instruction 179. */
	probe insn__179(char *p, char *mfa, int32_t depth, uint64_t word179);
	/** Instruction 180. */
	probe insn__180(char *p, char *mfa, int32_t depth, uint64_t word180);
	/** Instruction 181. */
	probe insn__181(char *p, char *mfa, int32_t depth, uint64_t word181);
	/** Instruction 182. */
	probe insn__182(char *p, char *mfa, int32_t depth, uint64_t word182);
	/** Instruction 183. */
	probe insn__183(char *p, char *mfa, int32_t depth, uint64_t word183);
	/** Instruction 184. */
	probe insn__184(char *p, char *mfa, int32_t depth, uint64_t word184);
	/** Instruction 185. */
	probe insn__185(char *p, char *mfa, int32_t depth, uint64_t word185);
	/** Instruction 186. */
	probe insn__186(char *p, char *mfa, int32_t depth, uint64_t word186);
	/** Instruction 187. */
	probe insn__187(char *p, char *mfa, int32_t depth, uint64_t word187);
	/** Instruction 188. */
	probe insn__188(char *p, char *mfa, int32_t depth, uint64_t word188);
	/** Instruction 189. */
	probe insn__189(char *p, char *mfa, int32_t depth, uint64_t word189);
	/** Instruction 190. */
	probe insn__190(char *p, char *mfa, int32_t depth, uint64_t word190);
	/** Instruction 191. */
	probe insn__191(char *p, char *mfa, int32_t depth, uint64_t word191);
	/** Instruction 192. */
	probe insn__192(char *p, char *mfa, int32_t depth, uint64_t word192);
	/** Instruction 193. */
	probe insn__193(char *p, char *mfa, int32_t depth, uint64_t word193);
	/** Instruction 194. */
	probe insn__194(char *p, char *mfa, int32_t depth, uint64_t word194);
	/** Instruction 195. */
	probe insn__195(char *p, char *mfa, int32_t depth, uint64_t word195);
	/** Instruction 196. */
	probe insn__196(char *p, char *mfa, int32_t depth, uint64_t word196);
	/** Instruction 197. */
	probe insn__197(char *p, char *mfa, int32_t depth, uint64_t word197);
	/** Instruction 198. */
	probe insn__198(char *p, char *mfa, int32_t depth, uint64_t word198);
	/** Instruction 199. */
	probe insn__199(char *p, char *mfa, int32_t depth, uint64_t word199);
	/** Instruction 200. */
	probe insn__200(char *p, char *mfa, int32_t depth, uint64_t word200);
	/** Instruction 201. */
	probe insn__201(char *p, char *mfa, int32_t depth, uint64_t word201);
	/** Instruction 202. */
	probe insn__202(char *p, char *mfa, int32_t depth, uint64_t word202);
	/** Instruction 203. */
	probe insn__203(char *p, char *mfa, int32_t depth, uint64_t word203);
	/** Instruction 204. */
	probe insn__204(char *p, char *mfa, int32_t depth, uint64_t word204);
	/** Instruction 205. */
	probe insn__205(char *p, char *mfa, int32_t depth, uint64_t word205);
	/** Instruction 206. */
	probe insn__206(char *p, char *mfa, int32_t depth, uint64_t word206);
	/** Instruction 207. */
	probe insn__207(char *p, char *mfa, int32_t depth, uint64_t word207);
	/** Instruction 208. */
	probe insn__208(char *p, char *mfa, int32_t depth, uint64_t word208);
	/** Instruction 209. */
	probe insn__209(char *p, char *mfa, int32_t depth, uint64_t word209);
	/** Instruction 210. */
	probe insn__210(char *p, char *mfa, int32_t depth, uint64_t word210);
	/** Instruction 211. */
	probe insn__211(char *p, char *mfa, int32_t depth, uint64_t word211);
	/** Instruction 212. */
	probe insn__212(char *p, char *mfa, int32_t depth, uint64_t word212);
	/** Instruction 213. */
	probe insn__213(char *p, char *mfa, int32_t depth, uint64_t word213);
	/** Instruction 214. */
	probe insn__214(char *p, char *mfa, int32_t depth, uint64_t word214);
	/** Instruction 215. */
	probe insn__215(char *p, char *mfa, int32_t depth, uint64_t word215);
	/** Instruction 216. */
	probe insn__216(char *p, char *mfa, int32_t depth, uint64_t word216);
	/** Instruction 217. */
	probe insn__217(char *p, char *mfa, int32_t depth, uint64_t word217);
	/** Instruction 218. */
	probe insn__218(char *p, char *mfa, int32_t depth, uint64_t word218);
	/** Instruction 219. */
	probe insn__219(char *p, char *mfa, int32_t depth, uint64_t word219);
	/** Instruction 220. */
	probe insn__220(char *p, char *mfa, int32_t depth, uint64_t word220);
	/** Instruction 221. */
	probe insn__221(char *p, char *mfa, int32_t depth, uint64_t word221);
	/** Instruction 222. */
	probe insn__222(char *p, char *mfa, int32_t depth, uint64_t word222);
	/** Instruction 223. */
	probe insn__223(char *p, char *mfa, int32_t depth, uint64_t word223);
	/** Instruction 224. */
	probe insn__224(char *p, char *mfa, int32_t depth, uint64_t word224);
	/** Instruction 225. */
	probe insn__225(char *p, char *mfa, int32_t depth, uint64_t word225);
	/** Instruction 226. */
	probe insn__226(char *p, char *mfa, int32_t depth, uint64_t word226);
	/** Instruction 227. */
	probe insn__227(char *p, char *mfa, int32_t depth, uint64_t word227);
	/** Instruction 228. */
	probe insn__228(char *p, char *mfa, int32_t depth, uint64_t word228);
	/** Instruction 229. */
	probe insn__229(char *p, char *mfa, int32_t depth, uint64_t word229);
	/** Instruction 230. */
	probe insn__230(char *p, char *mfa, int32_t depth, uint64_t word230);
	/** Instruction 231. */
	probe insn__231(char *p, char *mfa, int32_t depth, uint64_t word231);
	/** Instruction 232. */
	probe insn__232(char *p, char *mfa, int32_t depth, uint64_t word232);
	/** Instruction 233. */
	probe insn__233(char *p, char *mfa, int32_t depth, uint64_t word233);
	/** Instruction 234. */
	probe insn__234(char *p, char *mfa, int32_t depth, uint64_t word234);
	/** Instruction 235. */
	probe insn__235(char *p, char *mfa, int32_t depth, uint64_t word235);
	/** Instruction 236. */
	probe insn__236(char *p, char *mfa, int32_t depth, uint64_t word236);
	/** Instruction 237. */
	probe insn__237(char *p, char *mfa, int32_t depth, uint64_t word237);
	/** Instruction 238. */
	probe insn__238(char *p, char *mfa, int32_t depth, uint64_t word238);
	/** Instruction 239. */
	probe insn__239(char *p, char *mfa, int32_t depth, uint64_t word239);
	/** Instruction 240. */
	probe insn__240(char *p, char *mfa, int32_t depth, uint64_t word240);
	/** Instruction 241. */
	probe insn__241(char *p, char *mfa, int32_t depth, uint64_t word241);
	/** Instruction 242. */
	probe insn__242(char *p, char *mfa, int32_t depth, uint64_t word242);
	/** Instruction 243. */
	probe insn__243(char *p, char *mfa, int32_t depth, uint64_t word243);
	/** Instruction 244. */
	probe insn__244(char *p, char *mfa, int32_t depth, uint64_t word244);
	/** Instruction 245. */
	probe insn__245(char *p, char *mfa, int32_t depth, uint64_t word245);
	/** Instruction 246. */
	probe insn__246(char *p, char *mfa, int32_t depth, uint64_t word246);
	/** Instruction 247. */
	probe insn__247(char *p, char *mfa, int32_t depth, uint64_t word247);
	/** Instruction 248. */
	probe insn__248(char *p, char *mfa, int32_t depth, uint64_t word248);
	/** Instruction 249. */
	probe insn__249(char *p, char *mfa, int32_t depth, uint64_t word249);
	/** Instruction 250. */
	probe insn__250(char *p, char *mfa, int32_t depth, uint64_t word250);
	/** Instruction 251. */
	probe insn__251(char *p, char *mfa, int32_t depth, uint64_t word251);
	/** Instruction 252. */
	probe insn__252(char *p, char *mfa, int32_t depth, uint64_t word252);
	/** Instruction 253. */
	probe insn__253(char *p, char *mfa, int32_t depth, uint64_t word253);
	/** Instruction 254. */
	probe insn__254(char *p, char *mfa, int32_t depth, uint64_t word254);
	/** Instruction 255. */
	probe insn__255(char *p, char *mfa, int32_t depth, uint64_t word255);
	/** Instruction 256. */
	probe insn__256(char *p, char *mfa, int32_t depth, uint64_t word256);
	/** Instruction 257. */
	probe insn__257(char *p, char *mfa, int32_t depth, uint64_t word257);
	/** Instruction 258. */
	probe insn__258(char *p, char *mfa, int32_t depth, uint64_t word258);
	/** Instruction 259. */
	probe insn__259(char *p, char *mfa, int32_t depth, uint64_t word259);
	/** Instruction 260. */
	probe insn__260(char *p, char *mfa, int32_t depth, uint64_t word260);
	/** Instruction 261. */
	probe insn__261(char *p, char *mfa, int32_t depth, uint64_t word261);
	/** Instruction 262. */
	probe insn__262(char *p, char *mfa, int32_t depth, uint64_t word262);
	/** Instruction 263. */
	probe insn__263(char *p, char *mfa, int32_t depth, uint64_t word263);
	/** Instruction 264. */
	probe insn__264(char *p, char *mfa, int32_t depth, uint64_t word264);
	/** Instruction 265. */
	probe insn__265(char *p, char *mfa, int32_t depth, uint64_t word265);
	/** Instruction 266. */
	probe insn__266(char *p, char *mfa, int32_t depth, uint64_t word266);
	/** Instruction 267. */
	probe insn__267(char *p, char *mfa, int32_t depth, uint64_t word267);
	/** Instruction 268. */
	probe insn__268(char *p, char *mfa, int32_t depth, uint64_t word268);
	/** Instruction 269. */
	probe insn__269(char *p, char *mfa, int32_t depth, uint64_t word269);
	/** Instruction 270. */
	probe insn__270(char *p, char *mfa, int32_t depth, uint64_t word270);
	/** Instruction 271. */
	probe insn__271(char *p, char *mfa, int32_t depth, uint64_t word271);
	/** Instruction 272. */
	probe insn__272(char *p, char *mfa, int32_t depth, uint64_t word272);
	/** Instruction 273. */
	probe insn__273(char *p, char *mfa, int32_t depth, uint64_t word273);
	/** Instruction 274. */
	probe insn__274(char *p, char *mfa, int32_t depth, uint64_t word274);
	/** Instruction 275. */
	probe insn__275(char *p, char *mfa, int32_t depth, uint64_t word275);
	/** Instruction 276. */
	probe insn__276(char *p, char *mfa, int32_t depth, uint64_t word276);
	/** Instruction 277. */
	probe insn__277(char *p, char *mfa, int32_t depth, uint64_t word277);
	/** Instruction 278. */
	probe insn__278(char *p, char *mfa, int32_t depth, uint64_t word278);
	/** Instruction 279. */
	probe insn__279(char *p, char *mfa, int32_t depth, uint64_t word279);
	/** Instruction 280. */
	probe insn__280(char *p, char *mfa, int32_t depth, uint64_t word280);
	/** Instruction 281. */
	probe insn__281(char *p, char *mfa, int32_t depth, uint64_t word281);
	/** Instruction 282. */
	probe insn__282(char *p, char *mfa, int32_t depth, uint64_t word282);
	/** Instruction 283. */
	probe insn__283(char *p, char *mfa, int32_t depth, uint64_t word283);
	/** Instruction 284. */
	probe insn__284(char *p, char *mfa, int32_t depth, uint64_t word284);
	/** Instruction 285. */
	probe insn__285(char *p, char *mfa, int32_t depth, uint64_t word285);
	/** Instruction 286. */
	probe insn__286(char *p, char *mfa, int32_t depth, uint64_t word286);
	/** Instruction 287. */
	probe insn__287(char *p, char *mfa, int32_t depth, uint64_t word287);
	/** Instruction 288. */
	probe insn__288(char *p, char *mfa, int32_t depth, uint64_t word288);
	/** Instruction 289. */
	probe insn__289(char *p, char *mfa, int32_t depth, uint64_t word289);
	/** Instruction 290. */
	probe insn__290(char *p, char *mfa, int32_t depth, uint64_t word290);
	/** Instruction 291. */
	probe insn__291(char *p, char *mfa, int32_t depth, uint64_t word291);
	/** Instruction 292. */
	probe insn__292(char *p, char *mfa, int32_t depth, uint64_t word292);
	/** Instruction 293. */
	probe insn__293(char *p, char *mfa, int32_t depth, uint64_t word293);
	/** Instruction 294. */
	probe insn__294(char *p, char *mfa, int32_t depth, uint64_t word294);
	/** Instruction 295. */
	probe insn__295(char *p, char *mfa, int32_t depth, uint64_t word295);
	/** Instruction 296. */
	probe insn__296(char *p, char *mfa, int32_t depth, uint64_t word296);
	/** Instruction 297. */
	probe insn__297(char *p, char *mfa, int32_t depth, uint64_t word297);
	/** Instruction 298. */
	probe insn__298(char *p, char *mfa, int32_t depth, uint64_t word298);
	/** Instruction 299. */
	probe insn__299(char *p, char *mfa, int32_t depth, uint64_t word299);
	/** Instruction 300. */
	probe insn__300(char *p, char *mfa, int32_t depth, uint64_t word300);
	/** Instruction 301. */
	probe insn__301(char *p, char *mfa, int32_t depth, uint64_t word301);
	/** Instruction 302. */
	probe insn__302(char *p, char *mfa, int32_t depth, uint64_t word302);
	/** Instruction 303. */
	probe insn__303(char *p, char *mfa, int32_t depth, uint64_t word303);
	/** Instruction 304. */
	probe insn__304(char *p, char *mfa, int32_t depth, uint64_t word304);
	/** Instruction 305. */
	probe insn__305(char *p, char *mfa, int32_t depth, uint64_t word305);
	/** Instruction 306. */
	probe insn__306(char *p, char *mfa, int32_t depth, uint64_t word306);
	/** Instruction 307. */
	probe insn__307(char *p, char *mfa, int32_t depth, uint64_t word307);
	/** Instruction 308. */
	probe insn__308(char *p, char *mfa, int32_t depth, uint64_t word308);
	/** Instruction 309. */
	probe insn__309(char *p, char *mfa, int32_t depth, uint64_t word309);
	/** Instruction 310. */
	probe insn__310(char *p, char *mfa, int32_t depth, uint64_t word310);
	/** Instruction 311. */
	probe insn__311(char *p, char *mfa, int32_t depth, uint64_t word311);
	/** Instruction 312. */
	probe insn__312(char *p, char *mfa, int32_t depth, uint64_t word312);
	/** Instruction 313. */
	probe insn__313(char *p, char *mfa, int32_t depth, uint64_t word313);
	/** Instruction 314. */
	probe insn__314(char *p, char *mfa, int32_t depth, uint64_t word314);
	/** Instruction 315. */
	probe insn__315(char *p, char *mfa, int32_t depth, uint64_t word315);
	/** Instruction 316. */
	probe insn__316(char *p, char *mfa, int32_t depth, uint64_t word316);
	/** Instruction 317. */
	probe insn__317(char *p, char *mfa, int32_t depth, uint64_t word317);
	/** Instruction 318. */
	probe insn__318(char *p, char *mfa, int32_t depth, uint64_t word318);
	/** Instruction 319. */
	probe insn__319(char *p, char *mfa, int32_t depth, uint64_t word319);
	/** Instruction 320. */
	probe insn__320(char *p, char *mfa, int32_t depth, uint64_t word320);
	/** Instruction 321. */
	probe insn__321(char *p, char *mfa, int32_t depth, uint64_t word321);
	/** Instruction 322. */
	probe insn__322(char *p, char *mfa, int32_t depth, uint64_t word322);
	/** Instruction 323. */
	probe insn__323(char *p, char *mfa, int32_t depth, uint64_t word323);
	/** Instruction 324. */
	probe insn__324(char *p, char *mfa, int32_t depth, uint64_t word324);
	/** Instruction 325. */
	probe insn__325(char *p, char *mfa, int32_t depth, uint64_t word325);
	/** Instruction 326. */
	probe insn__326(char *p, char *mfa, int32_t depth, uint64_t word326);
	/** Instruction 327. */
	probe insn__327(char *p, char *mfa, int32_t depth, uint64_t word327);
	/** Instruction 328. */
	probe insn__328(char *p, char *mfa, int32_t depth, uint64_t word328);
	/** Instruction 329. */
	probe insn__329(char *p, char *mfa, int32_t depth, uint64_t word329);
	/** Instruction 330. */
	probe insn__330(char *p, char *mfa, int32_t depth, uint64_t word330);
	/** Instruction 331. */
	probe insn__331(char *p, char *mfa, int32_t depth, uint64_t word331);
	/** Instruction 332. */
	probe insn__332(char *p, char *mfa, int32_t depth, uint64_t word332);
	/** Instruction 333. */
	probe insn__333(char *p, char *mfa, int32_t depth, uint64_t word333);
	/** Instruction 334. */
	probe insn__334(char *p, char *mfa, int32_t depth, uint64_t word334);
	/** Instruction 335. */
	probe insn__335(char *p, char *mfa, int32_t depth, uint64_t word335);
	/** Instruction 336. */
	probe insn__336(char *p, char *mfa, int32_t depth, uint64_t word336);
	/** Instruction 337. */
	probe insn__337(char *p, char *mfa, int32_t depth, uint64_t word337);
	/** Instruction 338. */
	probe insn__338(char *p, char *mfa, int32_t depth, uint64_t word338);
	/** Instruction 339. */
	probe insn__339(char *p, char *mfa, int32_t depth, uint64_t word339);
	/** Instruction 340. */
	probe insn__340(char *p, char *mfa, int32_t depth, uint64_t word340);
	/** Instruction 341. */
	probe insn__341(char *p, char *mfa, int32_t depth, uint64_t word341);
	/** Instruction 342. */
	probe insn__342(char *p, char *mfa, int32_t depth, uint64_t word342);
	/** Instruction 343. */
	probe insn__343(char *p, char *mfa, int32_t depth, uint64_t word343);
	/** Instruction 344. */
	probe insn__344(char *p, char *mfa, int32_t depth, uint64_t word344);
	/** Instruction 345. */
	probe insn__345(char *p, char *mfa, int32_t depth, uint64_t word345);
	/** Instruction 346. */
	probe insn__346(char *p, char *mfa, int32_t depth, uint64_t word346);
	/** Instruction 347. */
	probe insn__347(char *p, char *mfa, int32_t depth, uint64_t word347);
	/** Instruction 348. */
	probe insn__348(char *p, char *mfa, int32_t depth, uint64_t word348);
	/** Instruction 349. */
	probe insn__349(char *p, char *mfa, int32_t depth, uint64_t word349);
	/** Instruction 350. */
	probe insn__350(char *p, char *mfa, int32_t depth, uint64_t word350);
	/** Instruction 351. */
	probe insn__351(char *p, char *mfa, int32_t depth, uint64_t word351);
	/** Instruction 352. */
	probe insn__352(char *p, char *mfa, int32_t depth, uint64_t word352);
	/** Instruction 353. */
	probe insn__353(char *p, char *mfa, int32_t depth, uint64_t word353);
	/** Instruction 354. */
	probe insn__354(char *p, char *mfa, int32_t depth, uint64_t word354);
	/** Instruction 355. */
	probe insn__355(char *p, char *mfa, int32_t depth, uint64_t word355);
	/** Instruction 356. */
	probe insn__356(char *p, char *mfa, int32_t depth, uint64_t word356);
	/** Instruction 357. */
	probe insn__357(char *p, char *mfa, int32_t depth, uint64_t word357);
	/** Instruction 358. */
	probe insn__358(char *p, char *mfa, int32_t depth, uint64_t word358);
	/** Instruction 359. */
	probe insn__359(char *p, char *mfa, int32_t depth, uint64_t word359);
	/** Instruction 360. */
	probe insn__360(char *p, char *mfa, int32_t depth, uint64_t word360);
	/** Instruction 361. */
	probe insn__361(char *p, char *mfa, int32_t depth, uint64_t word361);
	/** Instruction 362. */
	probe insn__362(char *p, char *mfa, int32_t depth, uint64_t word362);
	/** Instruction 363. */
	probe insn__363(char *p, char *mfa, int32_t depth, uint64_t word363);
	/** Instruction 364. */
	probe insn__364(char *p, char *mfa, int32_t depth, uint64_t word364);
	/** Instruction 365. */
	probe insn__365(char *p, char *mfa, int32_t depth, uint64_t word365);
	/** Instruction 366. */
	probe insn__366(char *p, char *mfa, int32_t depth, uint64_t word366);
	/** Instruction 367. */
	probe insn__367(char *p, char *mfa, int32_t depth, uint64_t word367);
	/** Instruction 368. */
	probe insn__368(char *p, char *mfa, int32_t depth, uint64_t word368);
	/** Instruction 369. */
	probe insn__369(char *p, char *mfa, int32_t depth, uint64_t word369);
	/** Instruction 370. */
	probe insn__370(char *p, char *mfa, int32_t depth, uint64_t word370);
	/** Instruction 371. */
	probe insn__371(char *p, char *mfa, int32_t depth, uint64_t word371);
	/** Instruction 372. */
	probe insn__372(char *p, char *mfa, int32_t depth, uint64_t word372);
	/** Instruction 373. */
	probe insn__373(char *p, char *mfa, int32_t depth, uint64_t word373);
	/** Instruction 374. */
	probe insn__374(char *p, char *mfa, int32_t depth, uint64_t word374);
	/** Instruction 375. */
	probe insn__375(char *p, char *mfa, int32_t depth, uint64_t word375);
	/** Instruction 376. */
	probe insn__376(char *p, char *mfa, int32_t depth, uint64_t word376);
	/** Instruction 377. */
	probe insn__377(char *p, char *mfa, int32_t depth, uint64_t word377);
	/** Instruction 378. */
	probe insn__378(char *p, char *mfa, int32_t depth, uint64_t word378);
	/** Instruction 379. */
	probe insn__379(char *p, char *mfa, int32_t depth, uint64_t word379);
	/** Instruction 380. */
	probe insn__380(char *p, char *mfa, int32_t depth, uint64_t word380);
	/** Instruction 381. */
	probe insn__381(char *p, char *mfa, int32_t depth, uint64_t word381);
	/** Instruction 382. */
	probe insn__382(char *p, char *mfa, int32_t depth, uint64_t word382);
	/** Instruction 383. */
	probe insn__383(char *p, char *mfa, int32_t depth, uint64_t word383);
	/** Instruction 384. */
	probe insn__384(char *p, char *mfa, int32_t depth, uint64_t word384);
	/** Instruction 385. */
	probe insn__385(char *p, char *mfa, int32_t depth, uint64_t word385);
	/** Instruction 386. */
	probe insn__386(char *p, char *mfa, int32_t depth, uint64_t word386);
	/** Instruction 387. */
	probe insn__387(char *p, char *mfa, int32_t depth, uint64_t word387);
	/** Instruction 388. */
	probe insn__388(char *p, char *mfa, int32_t depth, uint64_t word388);
	/** Instruction 389. */
	probe insn__389(char *p, char *mfa, int32_t depth, uint64_t word389);
	/** Instruction 390. */
	probe insn__390(char *p, char *mfa, int32_t depth, uint64_t word390);
	/** Instruction 391. */
	probe insn__391(char *p, char *mfa, int32_t depth, uint64_t word391);
	/** Instruction 392. */
	probe insn__392(char *p, char *mfa, int32_t depth, uint64_t word392);
	/** Instruction 393. */
	probe insn__393(char *p, char *mfa, int32_t depth, uint64_t word393);
	/** Instruction 394. */
	probe insn__394(char *p, char *mfa, int32_t depth, uint64_t word394);
	/** Instruction 395. */
	probe insn__395(char *p, char *mfa, int32_t depth, uint64_t word395);
	/** Instruction 396. */
	probe insn__396(char *p, char *mfa, int32_t depth, uint64_t word396);
	/** Instruction 397. */
	probe insn__397(char *p, char *mfa, int32_t depth, uint64_t word397);
	/** Instruction 398. */
	probe insn__398(char *p, char *mfa, int32_t depth, uint64_t word398);
	/** Instruction 399. */
	probe insn__399(char *p, char *mfa, int32_t depth, uint64_t word399);
	/** Instruction 400. */
	probe insn__400(char *p, char *mfa, int32_t depth, uint64_t word400);
	/** Instruction 401. */
	probe insn__401(char *p, char *mfa, int32_t depth, uint64_t word401);
	/** Instruction 402. */
	probe insn__402(char *p, char *mfa, int32_t depth, uint64_t word402);
	/** Instruction 403. */
	probe insn__403(char *p, char *mfa, int32_t depth, uint64_t word403);
	/** Instruction 404. */
	probe insn__404(char *p, char *mfa, int32_t depth, uint64_t word404);
	/** Instruction 405. */
	probe insn__405(char *p, char *mfa, int32_t depth, uint64_t word405);
	/** Instruction 406. */
	probe insn__406(char *p, char *mfa, int32_t depth, uint64_t word406);
	/** Instruction 407. */
	probe insn__407(char *p, char *mfa, int32_t depth, uint64_t word407);
	/** Instruction 408. */
	probe insn__408(char *p, char *mfa, int32_t depth, uint64_t word408);
	/** Instruction 409. */
	probe insn__409(char *p, char *mfa, int32_t depth, uint64_t word409);
	/** Instruction 410. */
	probe insn__410(char *p, char *mfa, int32_t depth, uint64_t word410);
	/** Instruction 411. */
	probe insn__411(char *p, char *mfa, int32_t depth, uint64_t word411);
	/** Instruction 412. */
	probe insn__412(char *p, char *mfa, int32_t depth, uint64_t word412);
	/** Instruction 413. */
	probe insn__413(char *p, char *mfa, int32_t depth, uint64_t word413);
	/** Instruction 414. */
	probe insn__414(char *p, char *mfa, int32_t depth, uint64_t word414);
	/** Instruction 415. */
	probe insn__415(char *p, char *mfa, int32_t depth, uint64_t word415);
	/** Instruction 416. */
	probe insn__416(char *p, char *mfa, int32_t depth, uint64_t word416);
	/** Instruction 417. */
	probe insn__417(char *p, char *mfa, int32_t depth, uint64_t word417);
	/** Instruction 418. */
	probe insn__418(char *p, char *mfa, int32_t depth, uint64_t word418);
	/** Instruction 419. */
	probe insn__419(char *p, char *mfa, int32_t depth, uint64_t word419);
	/** Instruction 420. */
	probe insn__420(char *p, char *mfa, int32_t depth, uint64_t word420);
	/** Instruction 421. */
	probe insn__421(char *p, char *mfa, int32_t depth, uint64_t word421);
	/** Instruction 422. */
	probe insn__422(char *p, char *mfa, int32_t depth, uint64_t word422);
	/** Instruction 423. */
	probe insn__423(char *p, char *mfa, int32_t depth, uint64_t word423);
	/** Instruction 424. */
	probe insn__424(char *p, char *mfa, int32_t depth, uint64_t word424);
	/** Instruction 425. */
	probe insn__425(char *p, char *mfa, int32_t depth, uint64_t word425);
	/** Instruction 426. */
	probe insn__426(char *p, char *mfa, int32_t depth, uint64_t word426);
	/** Instruction 427. */
	probe insn__427(char *p, char *mfa, int32_t depth, uint64_t word427);
	/** Instruction 428. */
	probe insn__428(char *p, char *mfa, int32_t depth, uint64_t word428);
	/** Instruction 429. */
	probe insn__429(char *p, char *mfa, int32_t depth, uint64_t word429);
	/** Instruction 430. */
	probe insn__430(char *p, char *mfa, int32_t depth, uint64_t word430);
	/** Instruction 431. */
	probe insn__431(char *p, char *mfa, int32_t depth, uint64_t word431);
	/** Instruction 432. */
	probe insn__432(char *p, char *mfa, int32_t depth, uint64_t word432);
	/** Instruction 433. */
	probe insn__433(char *p, char *mfa, int32_t depth, uint64_t word433);
	/** Instruction 434. */
	probe insn__434(char *p, char *mfa, int32_t depth, uint64_t word434);
	/** Instruction 435. */
	probe insn__435(char *p, char *mfa, int32_t depth, uint64_t word435);
	/** Instruction 436. */
	probe insn__436(char *p, char *mfa, int32_t depth, uint64_t word436);
	/** Instruction 437. */
	probe insn__437(char *p, char *mfa, int32_t depth, uint64_t word437);
	/** Instruction 438. */
	probe insn__438(char *p, char *mfa, int32_t depth, uint64_t word438);
	/** Instruction 439. */
	probe insn__439(char *p, char *mfa, int32_t depth, uint64_t word439);
	/** Instruction 440. */
	probe insn__440(char *p, char *mfa, int32_t depth, uint64_t word440);
	/** Instruction 441. */
	probe insn__441(char *p, char *mfa, int32_t depth, uint64_t word441);
	/** Instruction 442. */
	probe insn__442(char *p, char *mfa, int32_t depth, uint64_t word442);
	/** Instruction 443. */
	probe insn__443(char *p, char *mfa, int32_t depth, uint64_t word443);
	/** Instruction 444. */
	probe insn__444(char *p, char *mfa, int32_t depth, uint64_t word444);
	/** Instruction 445. */
	probe insn__445(char *p, char *mfa, int32_t depth, uint64_t word445);
	/** Instruction 446. */
	probe insn__446(char *p, char *mfa, int32_t depth, uint64_t word446);
	/** Instruction 447. */
	probe insn__447(char *p, char *mfa, int32_t depth, uint64_t word447);
	/** Instruction 448. */
	probe insn__448(char *p, char *mfa, int32_t depth, uint64_t word448);
	/** Instruction 449. */
	probe insn__449(char *p, char *mfa, int32_t depth, uint64_t word449);
	/** Instruction 450. */
	probe insn__450(char *p, char *mfa, int32_t depth, uint64_t word450);
	/** Instruction 451. */
	probe insn__451(char *p, char *mfa, int32_t depth, uint64_t word451);
	/** Instruction 452. */
	probe insn__452(char *p, char *mfa, int32_t depth, uint64_t word452);
	/** Instruction 453. */
	probe insn__453(char *p, char *mfa, int32_t depth, uint64_t word453);
	/** Instruction 454. */
	probe insn__454(char *p, char *mfa, int32_t depth, uint64_t word454);
	/** Instruction 455. */
	probe insn__455(char *p, char *mfa, int32_t depth, uint64_t word455);
	/** Instruction 456. */
	probe insn__456(char *p, char *mfa, int32_t depth, uint64_t word456);
	/** Instruction 457. */
	probe insn__457(char *p, char *mfa, int32_t depth, uint64_t word457);
	/** Instruction 458. */
	probe insn__458(char *p, char *mfa, int32_t depth, uint64_t word458);
	/** Instruction 459. */
	probe insn__459(char *p, char *mfa, int32_t depth, uint64_t word459);
	/** Instruction 460. */
	probe insn__460(char *p, char *mfa, int32_t depth, uint64_t word460);
	/** Instruction 461. */
	probe insn__461(char *p, char *mfa, int32_t depth, uint64_t word461);
	/** Instruction 462. */
	probe insn__462(char *p, char *mfa, int32_t depth, uint64_t word462);
	/** Instruction 463. */
	probe insn__463(char *p, char *mfa, int32_t depth, uint64_t word463);
	/** Instruction 464. */
	probe insn__464(char *p, char *mfa, int32_t depth, uint64_t word464);
	/** Instruction 465. */
	probe insn__465(char *p, char *mfa, int32_t depth, uint64_t word465);
	/** Instruction 466. */
	probe insn__466(char *p, char *mfa, int32_t depth, uint64_t word466);
	/** Instruction 467. */
	probe insn__467(char *p, char *mfa, int32_t depth, uint64_t word467);
	/** Instruction 468. */
	probe insn__468(char *p, char *mfa, int32_t depth, uint64_t word468);
	/** Instruction 469. */
	probe insn__469(char *p, char *mfa, int32_t depth, uint64_t word469);
	/** Instruction 470. */
	probe insn__470(char *p, char *mfa, int32_t depth, uint64_t word470);
	/** Instruction 471. */
	probe insn__471(char *p, char *mfa, int32_t depth, uint64_t word471);
	/** Instruction 472. */
	probe insn__472(char *p, char *mfa, int32_t depth, uint64_t word472);
	/** Instruction 473. */
	probe insn__473(char *p, char *mfa, int32_t depth, uint64_t word473);
	/** Instruction 474. */
	probe insn__474(char *p, char *mfa, int32_t depth, uint64_t word474);
	/** Instruction 475. */
	probe insn__475(char *p, char *mfa, int32_t depth, uint64_t word475);
	/** Instruction 476. */
	probe insn__476(char *p, char *mfa, int32_t depth, uint64_t word476);
	/** Instruction 477. */
	probe insn__477(char *p, char *mfa, int32_t depth, uint64_t word477);
	/** Instruction 478. */
	probe insn__478(char *p, char *mfa, int32_t depth, uint64_t word478);
	/** Instruction 479. */
	probe insn__479(char *p, char *mfa, int32_t depth, uint64_t word479);
	/** Instruction 480. */
	probe insn__480(char *p, char *mfa, int32_t depth, uint64_t word480);
	/** Instruction 481. */
	probe insn__481(char *p, char *mfa, int32_t depth, uint64_t word481);
	/** Instruction 482. */
	probe insn__482(char *p, char *mfa, int32_t depth, uint64_t word482);
	/** Instruction 483. */
	probe insn__483(char *p, char *mfa, int32_t depth, uint64_t word483);
	/** Instruction 484. */
	probe insn__484(char *p, char *mfa, int32_t depth, uint64_t word484);
	/** Instruction 485. */
	probe insn__485(char *p, char *mfa, int32_t depth, uint64_t word485);
	/** Instruction 486. */
	probe insn__486(char *p, char *mfa, int32_t depth, uint64_t word486);
	/** Instruction 487. */
	probe insn__487(char *p, char *mfa, int32_t depth, uint64_t word487);
	/** Instruction 488. */
	probe insn__488(char *p, char *mfa, int32_t depth, uint64_t word488);
	/** Instruction 489. */
	probe insn__489(char *p, char *mfa, int32_t depth, uint64_t word489);
	/** Instruction 490. */
	probe insn__490(char *p, char *mfa, int32_t depth, uint64_t word490);
	/** Instruction 491. */
	probe insn__491(char *p, char *mfa, int32_t depth, uint64_t word491);
	/** Instruction 492. */
	probe insn__492(char *p, char *mfa, int32_t depth, uint64_t word492);
	/** Instruction 493. */
	probe insn__493(char *p, char *mfa, int32_t depth, uint64_t word493);
	/** Instruction 494. */
	probe insn__494(char *p, char *mfa, int32_t depth, uint64_t word494);
	/** Instruction 495. */
	probe insn__495(char *p, char *mfa, int32_t depth, uint64_t word495);
	/** Instruction 496. */
	probe insn__496(char *p, char *mfa, int32_t depth, uint64_t word496);
	/** Instruction 497. */
	probe insn__497(char *p, char *mfa, int32_t depth, uint64_t word497);
	/** Instruction 498. */
	probe insn__498(char *p, char *mfa, int32_t depth, uint64_t word498);
	/** Instruction 499. */
	probe insn__499(char *p, char *mfa, int32_t depth, uint64_t word499);
	/** Instruction 500. */
	probe insn__500(char *p, char *mfa, int32_t depth, uint64_t word500);
	/** Instruction 501. */
	probe insn__501(char *p, char *mfa, int32_t depth, uint64_t word501);
	/** Instruction 502. */
	probe insn__502(char *p, char *mfa, int32_t depth, uint64_t word502);
	/** Instruction 503. */
	probe insn__503(char *p, char *mfa, int32_t depth, uint64_t word503);
	/** Instruction 504. */
	probe insn__504(char *p, char *mfa, int32_t depth, uint64_t word504);
	/** Instruction 505. */
	probe insn__505(char *p, char *mfa, int32_t depth, uint64_t word505);
	/** Instruction 506. */
	probe insn__506(char *p, char *mfa, int32_t depth, uint64_t word506);
	/** Instruction 507. */
	probe insn__507(char *p, char *mfa, int32_t depth, uint64_t word507);
	/** Instruction 508. */
	probe insn__508(char *p, char *mfa, int32_t depth, uint64_t word508);
	/** Instruction 509. */
	probe insn__509(char *p, char *mfa, int32_t depth, uint64_t word509);
	/** Instruction 510. */
	probe insn__510(char *p, char *mfa, int32_t depth, uint64_t word510);
	/** Instruction 511. */
	probe insn__511(char *p, char *mfa, int32_t depth, uint64_t word511);
	/** Instruction 512. */
	probe insn__512(char *p, char *mfa, int32_t depth, uint64_t word512);
	/** Instruction 513. */
	probe insn__513(char *p, char *mfa, int32_t depth, uint64_t word513);
	/** Instruction 514. */
	probe insn__514(char *p, char *mfa, int32_t depth, uint64_t word514);
	/** Instruction 515. */
	probe insn__515(char *p, char *mfa, int32_t depth, uint64_t word515);
	/** Instruction 516. */
	probe insn__516(char *p, char *mfa, int32_t depth, uint64_t word516);
	/** Instruction 517. */
	probe insn__517(char *p, char *mfa, int32_t depth, uint64_t word517);
	/** Instruction 518. */
	probe insn__518(char *p, char *mfa, int32_t depth, uint64_t word518);
	/** Instruction 519. */
	probe insn__519(char *p, char *mfa, int32_t depth, uint64_t word519);
	/** Instruction 520. */
	probe insn__520(char *p, char *mfa, int32_t depth, uint64_t word520);
	/** Instruction 521. */
	probe insn__521(char *p, char *mfa, int32_t depth, uint64_t word521);
	/** Instruction 522. */
	probe insn__522(char *p, char *mfa, int32_t depth, uint64_t word522);
	/** Instruction 523. */
	probe insn__523(char *p, char *mfa, int32_t depth, uint64_t word523);
	/** Instruction 524. */
	probe insn__524(char *p, char *mfa, int32_t depth, uint64_t word524);
	/** Instruction 525. */
	probe insn__525(char *p, char *mfa, int32_t depth, uint64_t word525);
	/** Instruction 526. */
	probe insn__526(char *p, char *mfa, int32_t depth, uint64_t word526);
	/** Instruction 527. */
	probe insn__527(char *p, char *mfa, int32_t depth, uint64_t word527);
	/** Instruction 528. */
	probe insn__528(char *p, char *mfa, int32_t depth, uint64_t word528);
	/** Instruction 529. */
	probe insn__529(char *p, char *mfa, int32_t depth, uint64_t word529);
	/** Instruction 530. */
	probe insn__530(char *p, char *mfa, int32_t depth, uint64_t word530);
	/** Instruction 531. */
	probe insn__531(char *p, char *mfa, int32_t depth, uint64_t word531);
	/** Instruction 532. */
	probe insn__532(char *p, char *mfa, int32_t depth, uint64_t word532);
	/** Instruction 533. */
	probe insn__533(char *p, char *mfa, int32_t depth, uint64_t word533);
	/** Instruction 534. */
	probe insn__534(char *p, char *mfa, int32_t depth, uint64_t word534);
	/** Instruction 535. */
	probe insn__535(char *p, char *mfa, int32_t depth, uint64_t word535);
	/** Instruction 536. */
	probe insn__536(char *p, char *mfa, int32_t depth, uint64_t word536);
	/** Instruction 537. */
	probe insn__537(char *p, char *mfa, int32_t depth, uint64_t word537);
	/** Instruction 538. */
	probe insn__538(char *p, char *mfa, int32_t depth, uint64_t word538);
	/** Instruction 539. */
	probe insn__539(char *p, char *mfa, int32_t depth, uint64_t word539);
	/** Instruction 540. */
	probe insn__540(char *p, char *mfa, int32_t depth, uint64_t word540);
	/** Instruction 541. */
	probe insn__541(char *p, char *mfa, int32_t depth, uint64_t word541);
	/** Instruction 542. */
	probe insn__542(char *p, char *mfa, int32_t depth, uint64_t word542);
	/** Instruction 543. */
	probe insn__543(char *p, char *mfa, int32_t depth, uint64_t word543);
	/** Instruction 544. */
	probe insn__544(char *p, char *mfa, int32_t depth, uint64_t word544);
	/** Instruction 545. */
	probe insn__545(char *p, char *mfa, int32_t depth, uint64_t word545);
	/** Instruction 546. */
	probe insn__546(char *p, char *mfa, int32_t depth, uint64_t word546);
	/** Instruction 547. */
	probe insn__547(char *p, char *mfa, int32_t depth, uint64_t word547);
	/** Instruction 548. */
	probe insn__548(char *p, char *mfa, int32_t depth, uint64_t word548);
	/** Instruction 549. */
	probe insn__549(char *p, char *mfa, int32_t depth, uint64_t word549);
	/** Instruction 550. */
	probe insn__550(char *p, char *mfa, int32_t depth, uint64_t word550);
	/** Instruction 551. */
	probe insn__551(char *p, char *mfa, int32_t depth, uint64_t word551);
	/** Instruction 552. */
	probe insn__552(char *p, char *mfa, int32_t depth, uint64_t word552);
	/** Instruction 553. */
	probe insn__553(char *p, char *mfa, int32_t depth, uint64_t word553);
	/** Instruction 554. */
	probe insn__554(char *p, char *mfa, int32_t depth, uint64_t word554);
	/** Instruction 555. */
	probe insn__555(char *p, char *mfa, int32_t depth, uint64_t word555);
	/** Instruction 556. */
	probe insn__556(char *p, char *mfa, int32_t depth, uint64_t word556);
	/** Instruction 557. */
	probe insn__557(char *p, char *mfa, int32_t depth, uint64_t word557);
	/** Instruction 558. */
	probe insn__558(char *p, char *mfa, int32_t depth, uint64_t word558);
	/** Instruction 559. */
	probe insn__559(char *p, char *mfa, int32_t depth, uint64_t word559);
	/** Instruction 560. */
	probe insn__560(char *p, char *mfa, int32_t depth, uint64_t word560);
	/** Instruction 561. */
	probe insn__561(char *p, char *mfa, int32_t depth, uint64_t word561);
	/** Instruction 562. */
	probe insn__562(char *p, char *mfa, int32_t depth, uint64_t word562);
	/** Instruction 563. */
	probe insn__563(char *p, char *mfa, int32_t depth, uint64_t word563);
	/** Instruction 564. */
	probe insn__564(char *p, char *mfa, int32_t depth, uint64_t word564);
	/** Instruction 565. */
	probe insn__565(char *p, char *mfa, int32_t depth, uint64_t word565);
	/** Instruction 566. */
	probe insn__566(char *p, char *mfa, int32_t depth, uint64_t word566);
	/** Instruction 567. */
	probe insn__567(char *p, char *mfa, int32_t depth, uint64_t word567);
	/** Instruction 568. */
	probe insn__568(char *p, char *mfa, int32_t depth, uint64_t word568);
	/** Instruction 569. */
	probe insn__569(char *p, char *mfa, int32_t depth, uint64_t word569);
	/** Instruction 570. */
	probe insn__570(char *p, char *mfa, int32_t depth, uint64_t word570);
	/** Instruction 571. */
	probe insn__571(char *p, char *mfa, int32_t depth, uint64_t word571);
	/** Instruction 572. */
	probe insn__572(char *p, char *mfa, int32_t depth, uint64_t word572);
	/** Instruction 573. */
	probe insn__573(char *p, char *mfa, int32_t depth, uint64_t word573);
	/** Instruction 574. */
	probe insn__574(char *p, char *mfa, int32_t depth, uint64_t word574);
	/** Instruction 575. */
	probe insn__575(char *p, char *mfa, int32_t depth, uint64_t word575);
	/** Instruction 576. */
	probe insn__576(char *p, char *mfa, int32_t depth, uint64_t word576);
	/** Instruction 577. */
	probe insn__577(char *p, char *mfa, int32_t depth, uint64_t word577);
	/** Instruction 578. */
	probe insn__578(char *p, char *mfa, int32_t depth, uint64_t word578);
	/** Instruction 579. */
	probe insn__579(char *p, char *mfa, int32_t depth, uint64_t word579);
	/** Instruction 580. */
	probe insn__580(char *p, char *mfa, int32_t depth, uint64_t word580);
	/** Instruction 581. */
	probe insn__581(char *p, char *mfa, int32_t depth, uint64_t word581);
	/** Instruction 582. */
	probe insn__582(char *p, char *mfa, int32_t depth, uint64_t word582);
	/** Instruction 583. */
	probe insn__583(char *p, char *mfa, int32_t depth, uint64_t word583);
	/** Instruction 584. */
	probe insn__584(char *p, char *mfa, int32_t depth, uint64_t word584);
	/** Instruction 585. */
	probe insn__585(char *p, char *mfa, int32_t depth, uint64_t word585);
	/** Instruction 586. */
	probe insn__586(char *p, char *mfa, int32_t depth, uint64_t word586);
	/** Instruction 587. */
	probe insn__587(char *p, char *mfa, int32_t depth, uint64_t word587);
	/** Instruction 588. */
	probe insn__588(char *p, char *mfa, int32_t depth, uint64_t word588);
	/** Instruction 589. */
	probe insn__589(char *p, char *mfa, int32_t depth, uint64_t word589);
	/** Instruction 590. */
	probe insn__590(char *p, char *mfa, int32_t depth, uint64_t word590);
	/** Instruction 591. */
	probe insn__591(char *p, char *mfa, int32_t depth, uint64_t word591);
	/** Instruction 592. */
	probe insn__592(char *p, char *mfa, int32_t depth, uint64_t word592);
	/** Instruction 593. */
	probe insn__593(char *p, char *mfa, int32_t depth, uint64_t word593);
	/** Instruction 594. */
	probe insn__594(char *p, char *mfa, int32_t depth, uint64_t word594);
	/** Instruction 595. */
	probe insn__595(char *p, char *mfa, int32_t depth, uint64_t word595);
	/** Instruction 596. */
	probe insn__596(char *p, char *mfa, int32_t depth, uint64_t word596);
	/** Instruction 597. */
	probe insn__597(char *p, char *mfa, int32_t depth, uint64_t word597);
	/** Instruction 598. */
	probe insn__598(char *p, char *mfa, int32_t depth, uint64_t word598);
	/** Instruction 599. */
	probe insn__599(char *p, char *mfa, int32_t depth, uint64_t word599);
	/** Instruction 600. */
	probe insn__600(char *p, char *mfa, int32_t depth, uint64_t word600);
	/** Instruction 601. */
	probe insn__601(char *p, char *mfa, int32_t depth, uint64_t word601);
	/** Instruction 602. */
	probe insn__602(char *p, char *mfa, int32_t depth, uint64_t word602);
	/** Instruction 603. */
	probe insn__603(char *p, char *mfa, int32_t depth, uint64_t word603);
	/** Instruction 604. */
	probe insn__604(char *p, char *mfa, int32_t depth, uint64_t word604);
	/** Instruction 605. */
	probe insn__605(char *p, char *mfa, int32_t depth, uint64_t word605);
	/** Instruction 606. */
	probe insn__606(char *p, char *mfa, int32_t depth, uint64_t word606);
	/** Instruction 607. */
	probe insn__607(char *p, char *mfa, int32_t depth, uint64_t word607);
	/** Instruction 608. */
	probe insn__608(char *p, char *mfa, int32_t depth, uint64_t word608);
	/** Instruction 609. */
	probe insn__609(char *p, char *mfa, int32_t depth, uint64_t word609);
	/** Instruction 610. */
	probe insn__610(char *p, char *mfa, int32_t depth, uint64_t word610);
	/** Instruction 611. */
	probe insn__611(char *p, char *mfa, int32_t depth, uint64_t word611);
	/** Instruction 612. */
	probe insn__612(char *p, char *mfa, int32_t depth, uint64_t word612);
	/** Instruction 613. */
	probe insn__613(char *p, char *mfa, int32_t depth, uint64_t word613);
	/** Instruction 614. */
	probe insn__614(char *p, char *mfa, int32_t depth, uint64_t word614);
	/** Instruction 615. */
	probe insn__615(char *p, char *mfa, int32_t depth, uint64_t word615);
	/** Instruction 616. */
	probe insn__616(char *p, char *mfa, int32_t depth, uint64_t word616);
	/** Instruction 617. */
	probe insn__617(char *p, char *mfa, int32_t depth, uint64_t word617);
	/** Instruction 618. */
	probe insn__618(char *p, char *mfa, int32_t depth, uint64_t word618);
	/** Instruction 619. */
	probe insn__619(char *p, char *mfa, int32_t depth, uint64_t word619);
	/** Instruction 620. */
	probe insn__620(char *p, char *mfa, int32_t depth, uint64_t word620);
	/** Instruction 621. */
	probe insn__621(char *p, char *mfa, int32_t depth, uint64_t word621);
	/** Instruction 622. */
	probe insn__622(char *p, char *mfa, int32_t depth, uint64_t word622);
	/** Instruction 623. */
	probe insn__623(char *p, char *mfa, int32_t depth, uint64_t word623);
	/** Instruction 624. */
	probe insn__624(char *p, char *mfa, int32_t depth, uint64_t word624);
	/** Instruction 625. */
	probe insn__625(char *p, char *mfa, int32_t depth, uint64_t word625);
	/** Instruction 626. */
	probe insn__626(char *p, char *mfa, int32_t depth, uint64_t word626);
	/** Instruction 627. */
	probe insn__627(char *p, char *mfa, int32_t depth, uint64_t word627);
	/** Instruction 628. */
	probe insn__628(char *p, char *mfa, int32_t depth, uint64_t word628);
	/** Instruction 629. */
	probe insn__629(char *p, char *mfa, int32_t depth, uint64_t word629);
	/** Instruction 630. */
	probe insn__630(char *p, char *mfa, int32_t depth, uint64_t word630);
	/** Instruction 631. */
	probe insn__631(char *p, char *mfa, int32_t depth, uint64_t word631);
	/** Instruction 632. */
	probe insn__632(char *p, char *mfa, int32_t depth, uint64_t word632);
	/** Instruction 633. */
	probe insn__633(char *p, char *mfa, int32_t depth, uint64_t word633);
	/** Instruction 634. */
	probe insn__634(char *p, char *mfa, int32_t depth, uint64_t word634);
	/** Instruction 635. */
	probe insn__635(char *p, char *mfa, int32_t depth, uint64_t word635);
	/** Instruction 636. */
	probe insn__636(char *p, char *mfa, int32_t depth, uint64_t word636);
	/** Instruction 637. */
	probe insn__637(char *p, char *mfa, int32_t depth, uint64_t word637);
	/** Instruction 638. */
	probe insn__638(char *p, char *mfa, int32_t depth, uint64_t word638);
	/** Instruction 639. */
	probe insn__639(char *p, char *mfa, int32_t depth, uint64_t word639);
	/** Instruction 640. */
	probe insn__640(char *p, char *mfa, int32_t depth, uint64_t word640);
	/** Instruction 641. */
	probe insn__641(char *p, char *mfa, int32_t depth, uint64_t word641);
	/** Instruction 642. */
	probe insn__642(char *p, char *mfa, int32_t depth, uint64_t word642);
	/** Instruction 643. */
	probe insn__643(char *p, char *mfa, int32_t depth, uint64_t word643);
	/** Instruction 644. */
	probe insn__644(char *p, char *mfa, int32_t depth, uint64_t word644);
	/** Instruction 645. */
	probe insn__645(char *p, char *mfa, int32_t depth, uint64_t word645);
	/** Instruction 646. */
	probe insn__646(char *p, char *mfa, int32_t depth, uint64_t word646);
	/** Instruction 647. */
	probe insn__647(char *p, char *mfa, int32_t depth, uint64_t word647);
	/** Instruction 648. */
	probe insn__648(char *p, char *mfa, int32_t depth, uint64_t word648);
	/** Instruction 649. */
	probe insn__649(char *p, char *mfa, int32_t depth, uint64_t word649);
	/** Instruction 650. */
	probe insn__650(char *p, char *mfa, int32_t depth, uint64_t word650);
	/** Instruction 651. */
	probe insn__651(char *p, char *mfa, int32_t depth, uint64_t word651);
	/** Instruction 652. */
	probe insn__652(char *p, char *mfa, int32_t depth, uint64_t word652);
	/** Instruction 653. */
	probe insn__653(char *p, char *mfa, int32_t depth, uint64_t word653);
	/** Instruction 654. */
	probe insn__654(char *p, char *mfa, int32_t depth, uint64_t word654);
	/** Instruction 655. */
	probe insn__655(char *p, char *mfa, int32_t depth, uint64_t word655);
	/** Instruction 656. */
	probe insn__656(char *p, char *mfa, int32_t depth, uint64_t word656);
	/** Instruction 657. */
	probe insn__657(char *p, char *mfa, int32_t depth, uint64_t word657);
	/** Instruction 658. */
	probe insn__658(char *p, char *mfa, int32_t depth, uint64_t word658);
	/** Instruction 659. */
	probe insn__659(char *p, char *mfa, int32_t depth, uint64_t word659);
	/** Instruction 660. */
	probe insn__660(char *p, char *mfa, int32_t depth, uint64_t word660);
	/** Instruction 661. */
	probe insn__661(char *p, char *mfa, int32_t depth, uint64_t word661);
	/** Instruction 662. */
	probe insn__662(char *p, char *mfa, int32_t depth, uint64_t word662);
	/** Instruction 663. */
	probe insn__663(char *p, char *mfa, int32_t depth, uint64_t word663);
	/** Instruction 664. */
	probe insn__664(char *p, char *mfa, int32_t depth, uint64_t word664);
	/** Instruction 665. */
	probe insn__665(char *p, char *mfa, int32_t depth, uint64_t word665);
	/** Instruction 666. */
	probe insn__666(char *p, char *mfa, int32_t depth, uint64_t word666);
	/** Instruction 667. */
	probe insn__667(char *p, char *mfa, int32_t depth, uint64_t word667);
	/** Instruction 668. */
	probe insn__668(char *p, char *mfa, int32_t depth, uint64_t word668);
	/** Instruction 669. */
	probe insn__669(char *p, char *mfa, int32_t depth, uint64_t word669);
	/** Instruction 670. */
	probe insn__670(char *p, char *mfa, int32_t depth, uint64_t word670);
	/** Instruction 671. */
	probe insn__671(char *p, char *mfa, int32_t depth, uint64_t word671);
	/** Instruction 672. */
	probe insn__672(char *p, char *mfa, int32_t depth, uint64_t word672);
	/** Instruction 673. */
	probe insn__673(char *p, char *mfa, int32_t depth, uint64_t word673);
	/** Instruction 674. */
	probe insn__674(char *p, char *mfa, int32_t depth, uint64_t word674);
	/** Instruction 675. */
	probe insn__675(char *p, char *mfa, int32_t depth, uint64_t word675);
	/** Instruction 676. */
	probe insn__676(char *p, char *mfa, int32_t depth, uint64_t word676);
	/** Instruction 677. */
	probe insn__677(char *p, char *mfa, int32_t depth, uint64_t word677);
	/** Instruction 678. */
	probe insn__678(char *p, char *mfa, int32_t depth, uint64_t word678);
	/** Instruction 679. */
	probe insn__679(char *p, char *mfa, int32_t depth, uint64_t word679);
	/** Instruction 680. */
	probe insn__680(char *p, char *mfa, int32_t depth, uint64_t word680);
	/** Instruction 681. */
	probe insn__681(char *p, char *mfa, int32_t depth, uint64_t word681);
	/** Instruction 682. */
	probe insn__682(char *p, char *mfa, int32_t depth, uint64_t word682);
	/** Instruction 683. */
	probe insn__683(char *p, char *mfa, int32_t depth, uint64_t word683);
	/** Instruction 684. */
	probe insn__684(char *p, char *mfa, int32_t depth, uint64_t word684);
	/** Instruction 685. */
	probe insn__685(char *p, char *mfa, int32_t depth, uint64_t word685);
	/** Instruction 686. */
	probe insn__686(char *p, char *mfa, int32_t depth, uint64_t word686);
	/** Instruction 687. */
	probe insn__687(char *p, char *mfa, int32_t depth, uint64_t word687);
	/** Instruction 688. */
	probe insn__688(char *p, char *mfa, int32_t depth, uint64_t word688);
	/** Instruction 689. */
	probe insn__689(char *p, char *mfa, int32_t depth, uint64_t word689);
	/** Instruction 690. */
	probe insn__690(char *p, char *mfa, int32_t depth, uint64_t word690);
	/** Instruction 691. */
	probe insn__691(char *p, char *mfa, int32_t depth, uint64_t word691);
	/** Instruction 692. */
	probe insn__692(char *p, char *mfa, int32_t depth, uint64_t word692);
	/** Instruction 693. */
	probe insn__693(char *p, char *mfa, int32_t depth, uint64_t word693);
	/** Instruction 694. */
	probe insn__694(char *p, char *mfa, int32_t depth, uint64_t word694);
	/** Instruction 695. */
	probe insn__695(char *p, char *mfa, int32_t depth, uint64_t word695);
	/** Instruction 696. */
	probe insn__696(char *p, char *mfa, int32_t depth, uint64_t word696);
	/** Instruction 697. */
	probe insn__697(char *p, char *mfa, int32_t depth, uint64_t word697);
	/** Instruction 698. */
	probe insn__698(char *p, char *mfa, int32_t depth, uint64_t word698);
	/** Instruction 699. */
	probe insn__699(char *p, char *mfa, int32_t depth, uint64_t word699);
	/** Instruction 700. */
	probe insn__700(char *p, char *mfa, int32_t depth, uint64_t word700);
	/** Instruction 701. */
	probe insn__701(char *p, char *mfa, int32_t depth, uint64_t word701);
	/** Instruction 702. */
	probe insn__702(char *p, char *mfa, int32_t depth, uint64_t word702);
	/** Instruction 703. */
	probe insn__703(char *p, char *mfa, int32_t depth, uint64_t word703);
	/** Instruction 704. */
	probe insn__704(char *p, char *mfa, int32_t depth, uint64_t word704);
	/** Instruction 705. */
	probe insn__705(char *p, char *mfa, int32_t depth, uint64_t word705);
	/** Instruction 706. */
	probe insn__706(char *p, char *mfa, int32_t depth, uint64_t word706);
	/** Instruction 707. */
	probe insn__707(char *p, char *mfa, int32_t depth, uint64_t word707);
	/** Instruction 708. */
	probe insn__708(char *p, char *mfa, int32_t depth, uint64_t word708);
	/** Instruction 709. */
	probe insn__709(char *p, char *mfa, int32_t depth, uint64_t word709);
	/** Instruction 710. */
	probe insn__710(char *p, char *mfa, int32_t depth, uint64_t word710);
	/** Instruction 711. */
	probe insn__711(char *p, char *mfa, int32_t depth, uint64_t word711);
	/** Instruction 712. */
	probe insn__712(char *p, char *mfa, int32_t depth, uint64_t word712);
	/** Instruction 713. */
	probe insn__713(char *p, char *mfa, int32_t depth, uint64_t word713);
	/** Instruction 714. */
	probe insn__714(char *p, char *mfa, int32_t depth, uint64_t word714);
	/** Instruction 715. */
	probe insn__715(char *p, char *mfa, int32_t depth, uint64_t word715);
	/** Instruction 716. */
	probe insn__716(char *p, char *mfa, int32_t depth, uint64_t word716);
	/** Instruction 717. */
	probe insn__717(char *p, char *mfa, int32_t depth, uint64_t word717);
	/** Instruction 718. */
	probe insn__718(char *p, char *mfa, int32_t depth, uint64_t word718);
	/** Instruction 719. */
	probe insn__719(char *p, char *mfa, int32_t depth, uint64_t word719);
	/** Instruction 720. */
	probe insn__720(char *p, char *mfa, int32_t depth, uint64_t word720);
	/** Instruction 721. */
	probe insn__721(char *p, char *mfa, int32_t depth, uint64_t word721);
	/** Instruction 722. */
	probe insn__722(char *p, char *mfa, int32_t depth, uint64_t word722);
	/** Instruction 723. */
	probe insn__723(char *p, char *mfa, int32_t depth, uint64_t word723);
	/** Instruction 724. */
	probe insn__724(char *p, char *mfa, int32_t depth, uint64_t word724);
	/** Instruction 725. */
	probe insn__725(char *p, char *mfa, int32_t depth, uint64_t word725);
	/** Instruction 726. */
	probe insn__726(char *p, char *mfa, int32_t depth, uint64_t word726);
	/** Instruction 727. */
	probe insn__727(char *p, char *mfa, int32_t depth, uint64_t word727);
	/** Instruction 728. */
	probe insn__728(char *p, char *mfa, int32_t depth, uint64_t word728);
	/** Instruction 729. */
	probe insn__729(char *p, char *mfa, int32_t depth, uint64_t word729);
	/** Instruction 730. */
	probe insn__730(char *p, char *mfa, int32_t depth, uint64_t word730);
	/** Instruction 731. */
	probe insn__731(char *p, char *mfa, int32_t depth, uint64_t word731);
	/** Instruction 732. */
	probe insn__732(char *p, char *mfa, int32_t depth, uint64_t word732);
	/** Instruction 733. */
	probe insn__733(char *p, char *mfa, int32_t depth, uint64_t word733);
	/** Instruction 734. */
	probe insn__734(char *p, char *mfa, int32_t depth, uint64_t word734);
	/** Instruction 735. */
	probe insn__735(char *p, char *mfa, int32_t depth, uint64_t word735);
	/** Instruction 736. */
	probe insn__736(char *p, char *mfa, int32_t depth, uint64_t word736);
	/** Instruction 737. */
	probe insn__737(char *p, char *mfa, int32_t depth, uint64_t word737);
	/** Instruction 738. */
	probe insn__738(char *p, char *mfa, int32_t depth, uint64_t word738);
	/** Instruction 739. */
	probe insn__739(char *p, char *mfa, int32_t depth, uint64_t word739);
	/** Instruction 740. */
	probe insn__740(char *p, char *mfa, int32_t depth, uint64_t word740);
	/** Instruction 741. */
	probe insn__741(char *p, char *mfa, int32_t depth, uint64_t word741);
	/** Instruction 742. */
	probe insn__742(char *p, char *mfa, int32_t depth, uint64_t word742);
	/** Instruction 743. */
	probe insn__743(char *p, char *mfa, int32_t depth, uint64_t word743);
	/** Instruction 744. */
	probe insn__744(char *p, char *mfa, int32_t depth, uint64_t word744);
	/** Instruction 745. */
	probe insn__745(char *p, char *mfa, int32_t depth, uint64_t word745);
	/** Instruction 746. */
	probe insn__746(char *p, char *mfa, int32_t depth, uint64_t word746);
	/** Instruction 747. */
	probe insn__747(char *p, char *mfa, int32_t depth, uint64_t word747);
	/** Instruction 748. */
	probe insn__748(char *p, char *mfa, int32_t depth, uint64_t word748);
	/** Instruction 749. */
	probe insn__749(char *p, char *mfa, int32_t depth, uint64_t word749);
	/** Instruction 750. */
	probe insn__750(char *p, char *mfa, int32_t depth, uint64_t word750);
	/** Instruction 751. */
	probe insn__751(char *p, char *mfa, int32_t depth, uint64_t word751);
	/** Instruction 752. */
	probe insn__752(char *p, char *mfa, int32_t depth, uint64_t word752);
	/** Instruction 753. */
	probe insn__753(char *p, char *mfa, int32_t depth, uint64_t word753);
	/** Instruction 754. */
	probe insn__754(char *p, char *mfa, int32_t depth, uint64_t word754);
	/** Instruction 755. */
	probe insn__755(char *p, char *mfa, int32_t depth, uint64_t word755);
	/** Instruction 756. */
	probe insn__756(char *p, char *mfa, int32_t depth, uint64_t word756);
	/** Instruction 757. */
	probe insn__757(char *p, char *mfa, int32_t depth, uint64_t word757);
	/** Instruction 758. */
	probe insn__758(char *p, char *mfa, int32_t depth, uint64_t word758);
	/** Instruction 759. */
	probe insn__759(char *p, char *mfa, int32_t depth, uint64_t word759);
	/** Instruction 760. */
	probe insn__760(char *p, char *mfa, int32_t depth, uint64_t word760);
	/** Instruction 761. */
	probe insn__761(char *p, char *mfa, int32_t depth, uint64_t word761);
	/** Instruction 762. */
	probe insn__762(char *p, char *mfa, int32_t depth, uint64_t word762);
	/** Instruction 763. */
	probe insn__763(char *p, char *mfa, int32_t depth, uint64_t word763);
	/** Instruction 764. */
	probe insn__764(char *p, char *mfa, int32_t depth, uint64_t word764);
	/** Instruction 765. */
	probe insn__765(char *p, char *mfa, int32_t depth, uint64_t word765);
	/** Instruction 766. */
	probe insn__766(char *p, char *mfa, int32_t depth, uint64_t word766);
	/** Instruction 767. */
	probe insn__767(char *p, char *mfa, int32_t depth, uint64_t word767);
	/** Instruction 768. */
	probe insn__768(char *p, char *mfa, int32_t depth, uint64_t word768);
	/** Instruction 769. */
	probe insn__769(char *p, char *mfa, int32_t depth, uint64_t word769);
	/** Instruction 770. */
	probe insn__770(char *p, char *mfa, int32_t depth, uint64_t word770);
	/** Instruction 771. */
	probe insn__771(char *p, char *mfa, int32_t depth, uint64_t word771);
	/** Instruction 772. */
	probe insn__772(char *p, char *mfa, int32_t depth, uint64_t word772);
	/** Instruction 773. */
	probe insn__773(char *p, char *mfa, int32_t depth, uint64_t word773);
	/** Instruction 774. */
	probe insn__774(char *p, char *mfa, int32_t depth, uint64_t word774);
	/** Instruction 775. */
	probe insn__775(char *p, char *mfa, int32_t depth, uint64_t word775);
	/** Instruction 776. */
	probe insn__776(char *p, char *mfa, int32_t depth, uint64_t word776);
	/** Instruction 777. */
	probe insn__777(char *p, char *mfa, int32_t depth, uint64_t word777);
	/** Instruction 778. */
	probe insn__778(char *p, char *mfa, int32_t depth, uint64_t word778);
	/** Instruction 779. */
	probe insn__779(char *p, char *mfa, int32_t depth, uint64_t word779);
	/** Instruction 780. */
	probe insn__780(char *p, char *mfa, int32_t depth, uint64_t word780);
	/** Instruction 781. */
	probe insn__781(char *p, char *mfa, int32_t depth, uint64_t word781);
	/** Instruction 782. */
	probe insn__782(char *p, char *mfa, int32_t depth, uint64_t word782);
	/** Instruction 783. */
	probe insn__783(char *p, char *mfa, int32_t depth, uint64_t word783);
	/** Instruction 784. */
	probe insn__784(char *p, char *mfa, int32_t depth, uint64_t word784);
	/** Instruction 785. */
	probe insn__785(char *p, char *mfa, int32_t depth, uint64_t word785);
	/** Instruction 786. */
	probe insn__786(char *p, char *mfa, int32_t depth, uint64_t word786);
	/** Instruction 787. */
	probe insn__787(char *p, char *mfa, int32_t depth, uint64_t word787);
	/** Instruction 788. */
	probe insn__788(char *p, char *mfa, int32_t depth, uint64_t word788);
	/** Instruction 789. */
	probe insn__789(char *p, char *mfa, int32_t depth, uint64_t word789);
	/** Instruction 790. */
	probe insn__790(char *p, char *mfa, int32_t depth, uint64_t word790);
	/** Instruction 791. */
	probe insn__791(char *p, char *mfa, int32_t depth, uint64_t word791);
	/** Instruction 792. */
	probe insn__792(char *p, char *mfa, int32_t depth, uint64_t word792);
	/** Instruction 793. */
	probe insn__793(char *p, char *mfa, int32_t depth, uint64_t word793);
	/** Instruction 794. */
	probe insn__794(char *p, char *mfa, int32_t depth, uint64_t word794);
	/** Instruction 795. */
	probe insn__795(char *p, char *mfa, int32_t depth, uint64_t word795);
	/** Instruction 796. */
	probe insn__796(char *p, char *mfa, int32_t depth, uint64_t word796);
	/** Instruction 797. */
	probe insn__797(char *p, char *mfa, int32_t depth, uint64_t word797);
	/** Instruction 798. */
	probe insn__798(char *p, char *mfa, int32_t depth, uint64_t word798);
	/** Instruction 799. */
	probe insn__799(char *p, char *mfa, int32_t depth, uint64_t word799);
	/** Instruction 800. */
	probe insn__800(char *p, char *mfa, int32_t depth, uint64_t word800);
	/** Instruction 801. */
	probe insn__801(char *p, char *mfa, int32_t depth, uint64_t word801);
	/** Instruction 802. */
	probe insn__802(char *p, char *mfa, int32_t depth, uint64_t word802);
	/** Instruction 803. */
	probe insn__803(char *p, char *mfa, int32_t depth, uint64_t word803);
	/** Instruction 804. */
	probe insn__804(char *p, char *mfa, int32_t depth, uint64_t word804);
	/** Instruction 805. */
	probe insn__805(char *p, char *mfa, int32_t depth, uint64_t word805);
	/** Instruction 806. */
	probe insn__806(char *p, char *mfa, int32_t depth, uint64_t word806);
	/** Instruction 807. */
	probe insn__807(char *p, char *mfa, int32_t depth, uint64_t word807);
	/** Instruction 808. */
	probe insn__808(char *p, char *mfa, int32_t depth, uint64_t word808);
	/** Instruction 809. */
	probe insn__809(char *p, char *mfa, int32_t depth, uint64_t word809);
	/** Instruction 810. */
	probe insn__810(char *p, char *mfa, int32_t depth, uint64_t word810);
	/** Instruction 811. */
	probe insn__811(char *p, char *mfa, int32_t depth, uint64_t word811);
	/** Instruction 812. */
	probe insn__812(char *p, char *mfa, int32_t depth, uint64_t word812);
	/** Instruction 813. */
	probe insn__813(char *p, char *mfa, int32_t depth, uint64_t word813);
	/** Instruction 814. */
	probe insn__814(char *p, char *mfa, int32_t depth, uint64_t word814);
	/** Instruction 815. */
	probe insn__815(char *p, char *mfa, int32_t depth, uint64_t word815);
	/** Instruction 816. */
	probe insn__816(char *p, char *mfa, int32_t depth, uint64_t word816);
	/** Instruction 817. */
	probe insn__817(char *p, char *mfa, int32_t depth, uint64_t word817);
	/** Instruction 818. */
	probe insn__818(char *p, char *mfa, int32_t depth, uint64_t word818);
	/** Instruction 819. */
	probe insn__819(char *p, char *mfa, int32_t depth, uint64_t word819);
	/** Instruction 820. */
	probe insn__820(char *p, char *mfa, int32_t depth, uint64_t word820);
	/** Instruction 821. */
	probe insn__821(char *p, char *mfa, int32_t depth, uint64_t word821);
	/** Instruction 822. */
	probe insn__822(char *p, char *mfa, int32_t depth, uint64_t word822);
	/** Instruction 823. */
	probe insn__823(char *p, char *mfa, int32_t depth, uint64_t word823);
	/** Instruction 824. */
	probe insn__824(char *p, char *mfa, int32_t depth, uint64_t word824);
	/** Instruction 825. */
	probe insn__825(char *p, char *mfa, int32_t depth, uint64_t word825);
	/** Instruction 826. */
	probe insn__826(char *p, char *mfa, int32_t depth, uint64_t word826);
	/** Instruction 827. */
	probe insn__827(char *p, char *mfa, int32_t depth, uint64_t word827);
	/** Instruction 828. */
	probe insn__828(char *p, char *mfa, int32_t depth, uint64_t word828);
	/** Instruction 829. */
	probe insn__829(char *p, char *mfa, int32_t depth, uint64_t word829);
	/** Instruction 830. */
	probe insn__830(char *p, char *mfa, int32_t depth, uint64_t word830);
	/** Instruction 831. */
	probe insn__831(char *p, char *mfa, int32_t depth, uint64_t word831);
	/** Instruction 832. */
	probe insn__832(char *p, char *mfa, int32_t depth, uint64_t word832);
	/** Instruction 833. */
	probe insn__833(char *p, char *mfa, int32_t depth, uint64_t word833);
	/** Instruction 834. */
	probe insn__834(char *p, char *mfa, int32_t depth, uint64_t word834);
	/** Instruction 835. */
	probe insn__835(char *p, char *mfa, int32_t depth, uint64_t word835);
	/** Instruction 836. */
	probe insn__836(char *p, char *mfa, int32_t depth, uint64_t word836);
	/** Instruction 837. */
	probe insn__837(char *p, char *mfa, int32_t depth, uint64_t word837);
	/** Instruction 838. */
	probe insn__838(char *p, char *mfa, int32_t depth, uint64_t word838);
	/** Instruction 839. */
	probe insn__839(char *p, char *mfa, int32_t depth, uint64_t word839);
	/** Instruction 840. */
	probe insn__840(char *p, char *mfa, int32_t depth, uint64_t word840);
	/** Instruction 841. */
	probe insn__841(char *p, char *mfa, int32_t depth, uint64_t word841);
	/** Instruction 842. */
	probe insn__842(char *p, char *mfa, int32_t depth, uint64_t word842);
	/** Instruction 843. */
	probe insn__843(char *p, char *mfa, int32_t depth, uint64_t word843);
	/** Instruction 844. */
	probe insn__844(char *p, char *mfa, int32_t depth, uint64_t word844);
	/** Instruction 845. */
	probe insn__845(char *p, char *mfa, int32_t depth, uint64_t word845);
	/** Instruction 846. */
	probe insn__846(char *p, char *mfa, int32_t depth, uint64_t word846);
	/** Instruction 847. */
	probe insn__847(char *p, char *mfa, int32_t depth, uint64_t word847);
	/** Instruction 848. */
	probe insn__848(char *p, char *mfa, int32_t depth, uint64_t word848);
	/** Instruction 849. */
	probe insn__849(char *p, char *mfa, int32_t depth, uint64_t word849);
	/** Instruction 850. */
	probe insn__850(char *p, char *mfa, int32_t depth, uint64_t word850);
	/** Instruction 851. */
	probe insn__851(char *p, char *mfa, int32_t depth, uint64_t word851);
	/** Instruction 852. */
	probe insn__852(char *p, char *mfa, int32_t depth, uint64_t word852);
	/** Instruction 853. */
	probe insn__853(char *p, char *mfa, int32_t depth, uint64_t word853);
	/** Instruction 854. */
	probe insn__854(char *p, char *mfa, int32_t depth, uint64_t word854);
	/** Instruction 855. */
	probe insn__855(char *p, char *mfa, int32_t depth, uint64_t word855);
	/** Instruction 856. */
	probe insn__856(char *p, char *mfa, int32_t depth, uint64_t word856);
	/** Instruction 857. */
	probe insn__857(char *p, char *mfa, int32_t depth, uint64_t word857);
	/** Instruction 858. */
	probe insn__858(char *p, char *mfa, int32_t depth, uint64_t word858);
	/** Instruction 859. */
	probe insn__859(char *p, char *mfa, int32_t depth, uint64_t word859);
	/** Instruction 860. */
	probe insn__860(char *p, char *mfa, int32_t depth, uint64_t word860);
	/** Instruction 861. */
	probe insn__861(char *p, char *mfa, int32_t depth, uint64_t word861);
	/** Instruction 862. */
	probe insn__862(char *p, char *mfa, int32_t depth, uint64_t word862);
	/** Instruction 863. */
	probe insn__863(char *p, char *mfa, int32_t depth, uint64_t word863);
	/** Instruction 864. */
	probe insn__864(char *p, char *mfa, int32_t depth, uint64_t word864);
	/** Instruction 865. */
	probe insn__865(char *p, char *mfa, int32_t depth, uint64_t word865);
	/** Instruction 866. */
	probe insn__866(char *p, char *mfa, int32_t depth, uint64_t word866);
	/** Instruction 867. */
	probe insn__867(char *p, char *mfa, int32_t depth, uint64_t word867);
	/** Instruction 868. */
	probe insn__868(char *p, char *mfa, int32_t depth, uint64_t word868);
	/** Instruction 869. */
	probe insn__869(char *p, char *mfa, int32_t depth, uint64_t word869);
	/** Instruction 870. */
	probe insn__870(char *p, char *mfa, int32_t depth, uint64_t word870);
	/** Instruction 871. */
	probe insn__871(char *p, char *mfa, int32_t depth, uint64_t word871);
	/** Instruction 872. */
	probe insn__872(char *p, char *mfa, int32_t depth, uint64_t word872);
	/** Instruction 873. */
	probe insn__873(char *p, char *mfa, int32_t depth, uint64_t word873);
	/** Instruction 874. */
	probe insn__874(char *p, char *mfa, int32_t depth, uint64_t word874);
	/** Instruction 875. */
	probe insn__875(char *p, char *mfa, int32_t depth, uint64_t word875);
	/** Instruction 876. */
	probe insn__876(char *p, char *mfa, int32_t depth, uint64_t word876);
	/** Instruction 877. */
	probe insn__877(char *p, char *mfa, int32_t depth, uint64_t word877);
	/** Instruction 878. */
	probe insn__878(char *p, char *mfa, int32_t depth, uint64_t word878);
	/** Instruction 879. */
	probe insn__879(char *p, char *mfa, int32_t depth, uint64_t word879);
	/** Instruction 880. */
	probe insn__880(char *p, char *mfa, int32_t depth, uint64_t word880);
	/** Instruction 881. */
	probe insn__881(char *p, char *mfa, int32_t depth, uint64_t word881);
	/** Instruction 882. */
	probe insn__882(char *p, char *mfa, int32_t depth, uint64_t word882);
	/** Instruction 883. */
	probe insn__883(char *p, char *mfa, int32_t depth, uint64_t word883);
	/** Instruction 884. */
	probe insn__884(char *p, char *mfa, int32_t depth, uint64_t word884);
	/** Instruction 885. */
	probe insn__885(char *p, char *mfa, int32_t depth, uint64_t word885);
	/** Instruction 886. */
	probe insn__886(char *p, char *mfa, int32_t depth, uint64_t word886);
	/** Instruction 887. */
	probe insn__887(char *p, char *mfa, int32_t depth, uint64_t word887);
	/** Instruction 888. */
	probe insn__888(char *p, char *mfa, int32_t depth, uint64_t word888);
	/** Instruction 889. */
	probe insn__889(char *p, char *mfa, int32_t depth, uint64_t word889);
	/** Instruction 890. */
	probe insn__890(char *p, char *mfa, int32_t depth, uint64_t word890);
	/** Instruction 891. */
	probe insn__891(char *p, char *mfa, int32_t depth, uint64_t word891);
	/** Instruction 892. */
	probe insn__892(char *p, char *mfa, int32_t depth, uint64_t word892);
	/** Instruction 893. */
	probe insn__893(char *p, char *mfa, int32_t depth, uint64_t word893);
	/** Instruction 894. */
	probe insn__894(char *p, char *mfa, int32_t depth, uint64_t word894);
	/** Instruction 895. */
	probe insn__895(char *p, char *mfa, int32_t depth, uint64_t word895);
	/** Instruction 896. */
	probe insn__896(char *p, char *mfa, int32_t depth, uint64_t word896);
	/** Instruction 897. */
	probe insn__897(char *p, char *mfa, int32_t depth, uint64_t word897);
	/** Instruction 898. */
	probe insn__898(char *p, char *mfa, int32_t depth, uint64_t word898);
	/** Instruction 899. */
	probe insn__899(char *p, char *mfa, int32_t depth, uint64_t word899);
	/** Instruction 900. */
	probe insn__900(char *p, char *mfa, int32_t depth, uint64_t word900);
	/** Instruction 901. */
	probe insn__901(char *p, char *mfa, int32_t depth, uint64_t word901);
	/** Instruction 902. */
	probe insn__902(char *p, char *mfa, int32_t depth, uint64_t word902);
	/** Instruction 903. */
	probe insn__903(char *p, char *mfa, int32_t depth, uint64_t word903);
	/** Instruction 904. */
	probe insn__904(char *p, char *mfa, int32_t depth, uint64_t word904);
	/** Instruction 905. */
	probe insn__905(char *p, char *mfa, int32_t depth, uint64_t word905);
	/** Instruction 906. */
	probe insn__906(char *p, char *mfa, int32_t depth, uint64_t word906);
	/** Instruction 907. */
	probe insn__907(char *p, char *mfa, int32_t depth, uint64_t word907);
	/** Instruction 908. */
	probe insn__908(char *p, char *mfa, int32_t depth, uint64_t word908);
	/** Instruction 909. */
	probe insn__909(char *p, char *mfa, int32_t depth, uint64_t word909);
	/** Instruction 910. */
	probe insn__910(char *p, char *mfa, int32_t depth, uint64_t word910);
	/** Instruction 911. */
	probe insn__911(char *p, char *mfa, int32_t depth, uint64_t word911);
	/** Instruction 912. */
	probe insn__912(char *p, char *mfa, int32_t depth, uint64_t word912);
	/** Instruction 913. */
	probe insn__913(char *p, char *mfa, int32_t depth, uint64_t word913);
	/** Instruction 914. */
	probe insn__914(char *p, char *mfa, int32_t depth, uint64_t word914);
	/** Instruction 915. */
	probe insn__915(char *p, char *mfa, int32_t depth, uint64_t word915);
	/** Instruction 916. */
	probe insn__916(char *p, char *mfa, int32_t depth, uint64_t word916);
	/** Instruction 917. */
	probe insn__917(char *p, char *mfa, int32_t depth, uint64_t word917);
	/** Instruction 918. */
	probe insn__918(char *p, char *mfa, int32_t depth, uint64_t word918);
	/** Instruction 919. */
	probe insn__919(char *p, char *mfa, int32_t depth, uint64_t word919);
	/** Instruction 920. */
	probe insn__920(char *p, char *mfa, int32_t depth, uint64_t word920);
	/** Instruction 921. */
	probe insn__921(char *p, char *mfa, int32_t depth, uint64_t word921);
	/** Instruction 922. */
	probe insn__922(char *p, char *mfa, int32_t depth, uint64_t word922);
	/** Instruction 923. */
	probe insn__923(char *p, char *mfa, int32_t depth, uint64_t word923);
	/** Instruction 924. */
	probe insn__924(char *p, char *mfa, int32_t depth, uint64_t word924);
	/** Instruction 925. */
	probe insn__925(char *p, char *mfa, int32_t depth, uint64_t word925);
	/** Instruction 926. */
	probe insn__926(char *p, char *mfa, int32_t depth, uint64_t word926);
	/** Instruction 927. */
	probe insn__927(char *p, char *mfa, int32_t depth, uint64_t word927);
	/** Instruction 928. */
	probe insn__928(char *p, char *mfa, int32_t depth, uint64_t word928);
	/** Instruction 929. */
	probe insn__929(char *p, char *mfa, int32_t depth, uint64_t word929);
	/** Instruction 930. */
	probe insn__930(char *p, char *mfa, int32_t depth, uint64_t word930);
	/** Instruction 931. */
	probe insn__931(char *p, char *mfa, int32_t depth, uint64_t word931);
	/** Instruction 932. */
	probe insn__932(char *p, char *mfa, int32_t depth, uint64_t word932);
	/** Instruction 933. */
	probe insn__933(char *p, char *mfa, int32_t depth, uint64_t word933);
	/** Instruction 934. */
	probe insn__934(char *p, char *mfa, int32_t depth, uint64_t word934);
	/** Instruction 935. */
	probe insn__935(char *p, char *mfa, int32_t depth, uint64_t word935);
	/** Instruction 936. */
	probe insn__936(char *p, char *mfa, int32_t depth, uint64_t word936);
	/** Instruction 937. */
	probe insn__937(char *p, char *mfa, int32_t depth, uint64_t word937);
	/** Instruction 938. */
	probe insn__938(char *p, char *mfa, int32_t depth, uint64_t word938);
	/** Instruction 939. */
	probe insn__939(char *p, char *mfa, int32_t depth, uint64_t word939);
	/** Instruction 940. */
	probe insn__940(char *p, char *mfa, int32_t depth, uint64_t word940);
	/** Instruction 941. */
	probe insn__941(char *p, char *mfa, int32_t depth, uint64_t word941);
	/** Instruction 942. */
	probe insn__942(char *p, char *mfa, int32_t depth, uint64_t word942);
	/** Instruction 943. */
	probe insn__943(char *p, char *mfa, int32_t depth, uint64_t word943);
	/** Instruction 944. */
	probe insn__944(char *p, char *mfa, int32_t depth, uint64_t word944);
	/** Instruction 945. */
	probe insn__945(char *p, char *mfa, int32_t depth, uint64_t word945);
	/** Instruction 946. */
	probe insn__946(char *p, char *mfa, int32_t depth, uint64_t word946);
	/** Instruction 947. */
	probe insn__947(char *p, char *mfa, int32_t depth, uint64_t word947);
	/** Instruction 948. */
	probe insn__948(char *p, char *mfa, int32_t depth, uint64_t word948);
	/** Instruction 949. */
	probe insn__949(char *p, char *mfa, int32_t depth, uint64_t word949);
	/** Instruction 950. */
	probe insn__950(char *p, char *mfa, int32_t depth, uint64_t word950);
	/** Instruction 951. */
	probe insn__951(char *p, char *mfa, int32_t depth, uint64_t word951);
	/** Instruction 952. */
	probe insn__952(char *p, char *mfa, int32_t depth, uint64_t word952);
	/** Instruction 953. */
	probe insn__953(char *p, char *mfa, int32_t depth, uint64_t word953);
	/** Instruction 954. */
	probe insn__954(char *p, char *mfa, int32_t depth, uint64_t word954);
	/** Instruction 955. */
	probe insn__955(char *p, char *mfa, int32_t depth, uint64_t word955);
	/** Instruction 956. */
	probe insn__956(char *p, char *mfa, int32_t depth, uint64_t word956);
	/** Instruction 957. */
	probe insn__957(char *p, char *mfa, int32_t depth, uint64_t word957);
	/** Instruction 958. */
	probe insn__958(char *p, char *mfa, int32_t depth, uint64_t word958);
	/** Instruction 959. */
	probe insn__959(char *p, char *mfa, int32_t depth, uint64_t word959);
	/** Instruction 960. */
	probe insn__960(char *p, char *mfa, int32_t depth, uint64_t word960);
	/** Instruction 961. */
	probe insn__961(char *p, char *mfa, int32_t depth, uint64_t word961);
	/** Instruction 962. */
	probe insn__962(char *p, char *mfa, int32_t depth, uint64_t word962);
	/** Instruction 963. */
	probe insn__963(char *p, char *mfa, int32_t depth, uint64_t word963);
	/** Instruction 964. */
	probe insn__964(char *p, char *mfa, int32_t depth, uint64_t word964);
	/** Instruction 965. */
	probe insn__965(char *p, char *mfa, int32_t depth, uint64_t word965);
	/** Instruction 966. */
	probe insn__966(char *p, char *mfa, int32_t depth, uint64_t word966);
	/** Instruction 967. */
	probe insn__967(char *p, char *mfa, int32_t depth, uint64_t word967);
	/** Instruction 968. */
	probe insn__968(char *p, char *mfa, int32_t depth, uint64_t word968);
	/** Instruction 969. */
	probe insn__969(char *p, char *mfa, int32_t depth, uint64_t word969);
	/** Instruction 970. */
	probe insn__970(char *p, char *mfa, int32_t depth, uint64_t word970);
	/** Instruction 971. */
	probe insn__971(char *p, char *mfa, int32_t depth, uint64_t word971);
	/** Instruction 972. */
	probe insn__972(char *p, char *mfa, int32_t depth, uint64_t word972);
	/** Instruction 973. */
	probe insn__973(char *p, char *mfa, int32_t depth, uint64_t word973);
	/** Instruction 974. */
	probe insn__974(char *p, char *mfa, int32_t depth, uint64_t word974);
	/** Instruction 975. */
	probe insn__975(char *p, char *mfa, int32_t depth, uint64_t word975);
	/** Instruction 976. */
	probe insn__976(char *p, char *mfa, int32_t depth, uint64_t word976);
	/** Instruction 977. */
	probe insn__977(char *p, char *mfa, int32_t depth, uint64_t word977);
	/** Instruction 978. */
	probe insn__978(char *p, char *mfa, int32_t depth, uint64_t word978);
	/** Instruction 979. */
	probe insn__979(char *p, char *mfa, int32_t depth, uint64_t word979);
	/** Instruction 980. */
	probe insn__980(char *p, char *mfa, int32_t depth, uint64_t word980);
	/** Instruction 981. */
	probe insn__981(char *p, char *mfa, int32_t depth, uint64_t word981);
	/** Instruction 982. */
	probe insn__982(char *p, char *mfa, int32_t depth, uint64_t word982);
	/** Instruction 983. */
	probe insn__983(char *p, char *mfa, int32_t depth, uint64_t word983);
	/** Instruction 984. */
	probe insn__984(char *p, char *mfa, int32_t depth, uint64_t word984);
	/** Instruction 985. */
	probe insn__985(char *p, char *mfa, int32_t depth, uint64_t word985);
	/** Instruction 986. */
	probe insn__986(char *p, char *mfa, int32_t depth, uint64_t word986);
	/** Instruction 987. */
	probe insn__987(char *p, char *mfa, int32_t depth, uint64_t word987);
	/** Instruction 988. */
	probe insn__988(char *p, char *mfa, int32_t depth, uint64_t word988);
	/** Instruction 989. */
	probe insn__989(char *p, char *mfa, int32_t depth, uint64_t word989);
	/** Instruction 990. */
	probe insn__990(char *p, char *mfa, int32_t depth, uint64_t word990);
	/** Instruction 991. */
	probe insn__991(char *p, char *mfa, int32_t depth, uint64_t word991);
	/** Instruction 992. */
	probe insn__992(char *p, char *mfa, int32_t depth, uint64_t word992);
	/** Instruction 993. */
	probe insn__993(char *p, char *mfa, int32_t depth, uint64_t word993);
	/** Instruction 994. */
	probe insn__994(char *p, char *mfa, int32_t depth, uint64_t word994);
	/** Instruction 995. */
	probe insn__995(char *p, char *mfa, int32_t depth, uint64_t word995);
	/** Instruction 996. */
	probe insn__996(char *p, char *mfa, int32_t depth, uint64_t word996);
	/** Instruction 997. */
	probe insn__997(char *p, char *mfa, int32_t depth, uint64_t word997);
	/** Instruction 998. */
	probe insn__998(char *p, char *mfa, int32_t depth, uint64_t word998);
	/** Instruction 999. */
	probe insn__999(char *p, char *mfa, int32_t depth, uint64_t word999);
};
